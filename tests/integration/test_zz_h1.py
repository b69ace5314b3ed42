import pipelines.transcoding.ts_pictures as tp
o=tp.TsPictureFeed._first_new_picture
def f(self, first, shown):
    track=first.index.track(self.video.track)
    pcs=list(self._edges.pieces_before(first))
    print("DBG", first.segment.sequence, first.piece, track.hashes is None, [(p.segment.sequence,p.piece) for p in pcs], [ (p.index.track(track.track).pts[-3:], p.index.track(track.track).hashes is None) for p in pcs][:2], track.pts[:3])
    e=tp._earlier_pictures(iter(pcs), track)
    latest=max((p for p,_ in e),default=None)
    print("DBG", len(e), latest)
    r=o(self, first, shown); print("DBG", shown, r); return r
tp.TsPictureFeed._first_new_picture=f
import subprocess, pytest
from tests.packaging import Finalizer, Transcoder, small_encoding
pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

FF=[""]
def take(folder, name, size="256x144", tone=440, acodec="ac3", video=True, seconds=6, hue=0, fmt="mpegts", silent=False):
    cmd=[FF[0],"-v","error","-y"]
    if video: cmd+=["-f","lavfi","-i",f"testsrc2=size={size}:rate=25:duration={seconds},hue=h={hue}"]
    a = f"anullsrc=r=48000:cl=stereo:d={seconds}" if silent else f"sine=frequency={tone}:r=48000:d={seconds}"
    cmd+=["-f","lavfi","-i",a]
    if video: cmd+=["-c:v","libx264","-preset","ultrafast","-pix_fmt","yuv420p","-g","50","-bf","0","-x264-params","scenecut=0"]
    ext={"mpegts":"ts","fmp4":"m4s"}[fmt]
    extra=["-hls_fmp4_init_filename",f"{name}init.mp4"] if fmt=="fmp4" else []
    cmd+=["-c:a",acodec,"-b:a","128k","-t",str(seconds),"-f","hls","-hls_time","2","-hls_list_size","0","-hls_segment_type",fmt,*extra,"-hls_segment_filename",f"{name}%d.{ext}",f"{name}.m3u8"]
    subprocess.run(cmd,check=True,cwd=folder)
    lines=(folder/f"{name}.m3u8").read_text().splitlines()
    out=[];dur=None
    for l in lines:
        if l.startswith("#EXTINF"): dur=l
        elif l and l[0]!="#": out.append((dur,l))
    return out

def playlist(folder, segs, clock=None, init=None):
    from datetime import datetime,timedelta,timezone
    t=datetime(2026,1,1,tzinfo=timezone.utc)
    lines=["#EXTM3U","#EXT-X-VERSION:7","#EXT-X-TARGETDURATION:5","#EXT-X-MEDIA-SEQUENCE:0"]
    if init: lines.append(f'#EXT-X-MAP:URI="{init}"')
    for d,n in segs:
        if clock: lines.append("#EXT-X-PROGRAM-DATE-TIME:"+t.isoformat(timespec="milliseconds")); t+=timedelta(seconds=float(d.split(":")[1].rstrip(",")))
        lines+=[d,n]
    p=folder/"index.m3u8"; p.write_text("\n".join([*lines,"#EXT-X-ENDLIST",""])); return p

def show(label, found, proof):
    print("==",label, round(proof.duration,3), [(t.name,t.copied,t.encoded,t.repeated) for t in proof.tracks])
    print("   gaps",[(g.track,round(g.at,2),round(g.duration,2),g.cause,g.done) for g in found.tables.gaps], "periods",[(p.number,round(p.start,2)) for p in found.tables.periods])
    for r in found.repairs: print("   repair",r)
    for r in found.losses: print("   loss",r)
    print("   dropped", found.tables.dropped)

def go(s3, tools, path, video=True, seconds=None):
    f=Finalizer(s3,tools,slice_seconds=seconds)
    try: show("copy",*f.finalize(path))
    except Exception as e: print("copy FAIL",type(e),e)
    if video:
        t=Transcoder(s3,tools,{"p90":small_encoding(gop=2.0)},seconds)
        try: show("p90",*t.finalize(path)["p90"])
        except Exception as e: print("p90 FAIL",type(e),e)

@pytest.mark.parametrize("case",["a-ac3","a-silent","b","c-ac3","c-mp3","loop","slate","half","half-rev","half-fmp4"])
def test_case(case, s3, media_tools, tmp_path):
    print("\n#######",case)
    f=tmp_path; kw={}; FF[0]=media_tools.ffmpeg
    if case=="a-ac3": segs=take(f,"x")+take(f,"y","320x180",880)
    elif case=="a-silent": segs=take(f,"x",acodec="aac",silent=True)+take(f,"y",acodec="aac",silent=True,hue=90)
    elif case=="b": segs=take(f,"x")+take(f,"y",tone=880,hue=90)
    elif case=="c-ac3": segs=take(f,"x",video=False,seconds=8)+take(f,"y",video=False,tone=880,seconds=8)
    elif case=="c-mp3": segs=take(f,"x",video=False,seconds=8,acodec="libmp3lame")+take(f,"y",video=False,tone=880,seconds=8,acodec="libmp3lame")
    elif case=="loop": segs=take(f,"x")*3; kw=dict(clock=1)
    elif case=="slate": segs=take(f,"x",seconds=2)*8; kw=dict(clock=1)
    elif case.startswith("half"):
        fmt="fmp4" if "fmp4" in case else "mpegts"
        segs=take(f,"x",seconds=10,acodec="aac",fmt=fmt)
        if fmt=="fmp4": kw=dict(init="xinit.mp4")
        d,n=segs[2]; data=(f/n).read_bytes(); (f/("half"+n)).write_bytes(data[:len(data)//2])
        h=(d,"half"+n)
        segs=segs[:2]+([h,segs[2]] if case!="half-rev" else [segs[2],h])+segs[3:]
    go(s3,media_tools,playlist(f,segs,**kw),video=not case.startswith("c-"))
