// Prints what mp4box.js reads of an MP4, as JSON: node mp4box_dump.cjs MP4BOX FILE
"use strict";
const fs = require("node:fs");
const MP4Box = require(process.argv[2]);

const file = MP4Box.createFile();
let failure = null;
file.onError = (module, message) => (failure = `${module}: ${message}`);
const bytes = fs.readFileSync(process.argv[3]);
const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
buffer.fileStart = 0;
file.appendBuffer(buffer);
file.flush();

const tracks = file.moov.traks.map((trak) => ({
  handler: trak.mdia.hdlr.handler,
  timescale: trak.mdia.mdhd.timescale,
  entries: trak.mdia.minf.stbl.stsd.entries.map((entry) => entry.type),
  edits: (trak.edts?.elst?.entries ?? []).map((edit) => [edit.segment_duration, edit.media_time]),
  samples: file
    .getTrackSamplesInfo(trak.tkhd.track_id)
    .map((s) => [s.offset, s.size, s.dts, s.cts, s.is_sync ? 1 : 0, s.description_index]),
}));
const boxes = file.boxes.map((box) => [box.type, box.start, box.size]);
console.log(JSON.stringify({ failure, boxes, movieTimescale: file.moov.mvhd.timescale, tracks }));
