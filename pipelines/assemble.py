"""Assembling a rendition: tables merged into one header, first part last, upload completed."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.absent_sound import why_absent
from pipelines.errors import ErrorCode, PermanentError, ToolError, TransientError
from pipelines.gap_policy import GapPolicy
from pipelines.layout import HEADER_PART, ObjectLayout, StagedPart, lay_out
from pipelines.loss import LossCause
from pipelines.missing_media import missing_media
from pipelines.movie_tables import MovieTables
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.movie import write_header
from pipelines.object_store import (
    ListedPart,
    ObjectHead,
    ObjectKind,
    ObjectStore,
    UploadedPart,
    composite_crc32,
    encode_crc32,
)
from pipelines.part_scheme import VARYING_PARTS, PartScheme
from pipelines.silence import silent_sound
from pipelines.store_errors import ObjectExists, ObjectMissing, PartsRefused, UploadMissing
from pipelines.wall_clock import ListedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from fractions import Fraction

    from pipelines.census import EncodingOf, MainPictures
    from pipelines.clock_detours import Place
    from pipelines.conformance import Conformance
    from pipelines.location import Location
    from pipelines.loss import Loss
    from pipelines.media import Codec
    from pipelines.packaged_slice import PackagedSlice
    from pipelines.playlist import AudioRendition, Segment
    from pipelines.rendition_layout import RenditionLayout
    from pipelines.repair import Repair
    from pipelines.silence import SilentSound
    from pipelines.staging import SliceReceipt, Staging
    from pipelines.transcoding.encoding import VideoEncoding

#: A published MP4 never changes: a later revision has another name.
MP4 = ObjectKind("video/mp4", "public, max-age=31536000, immutable")
#: Slice results that are read ahead while tables are merged.
READ_AHEAD = 8
#: Name of the user metadata by which a lost answer of `complete` is recognised.
NONCE = "finalizer-nonce"


class SlicesChanged(Exception):
    """Raised when the store's parts are not those of the results: these slices are to be packaged
    again. Stores keep the last upload of a part number, so a slow worker can do this."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__(f"parts of slices {numbers} are not those that were packaged")
        self.numbers = numbers


class UploadLost(Exception):
    """Raised when the store dropped the multipart upload: every uploaded slice is packaged again."""


class LayoutNeeded(Exception):
    """Raised when the runs are not alike: the slices that ``layout`` names are to be conformed to it.

    ``reasons`` say for people what differs.
    """

    def __init__(self, layout: RenditionLayout, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.layout = layout
        self.reasons = reasons


@dataclass(frozen=True)
class OpenUpload:
    """The multipart upload of a rendition, the nonce in its object's metadata, when it was opened,
    Unix ms, and how its parts are numbered."""

    upload_id: str
    nonce: str
    opened_ms: int = 0
    scheme: PartScheme = VARYING_PARTS

    def to_json(self) -> str:
        """The form in which the run's record keeps it: an object with the id and the nonce as names.

        An earlier version of ours, which may work beside this one, kept the two as a list: it
        iterates over what it reads, and so finds them in the names.
        """
        told = {self.upload_id: self.opened_ms, self.nonce: self.scheme.to_json()}
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> OpenUpload:
        """The inverse of ``to_json``, also of what an earlier version of ours kept."""
        told = json.loads(text)
        upload_id, nonce = told
        if isinstance(told, list):
            return cls(upload_id, nonce)
        return cls(upload_id, nonce, told[upload_id], PartScheme.from_json(told[nonce]))


@dataclass(frozen=True, eq=False)
class AssembledObject:
    """A finished object in the store, not yet proven; ``tables`` say what it must hold.

    ``header`` is all that precedes the payload of slice 0: the silence that is repeated, too.
    """

    location: Location
    size: int
    etag: str
    told_checksum: str | None  #: what the store tells of it, before anything is compared
    written_whole: bool  #: in one request, not in parts
    header: bytes
    layout: ObjectLayout
    parts: tuple[UploadedPart, ...]
    tables: MovieTables
    source_bytes: int
    source_segments: int
    listed_seconds: float

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Segments, and parts of them, that could not be packaged."""
        return tuple(self.tables.losses)

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """What was mended in the source's media."""
        return tuple(self.tables.repairs)

    @property
    def checksum(self) -> str:
        """The checksum that the store must tell of the object."""
        if self.written_whole:
            return encode_crc32(self.parts[0].crc32)
        return composite_crc32(self.parts)


@dataclass(frozen=True, eq=False)
class Assembly:
    """What is needed to assemble one rendition of one generation."""

    store: ObjectStore
    staging: Staging
    rendition: str
    location: Location  #: of the MP4
    receipts: Sequence[SliceReceipt]  #: of every slice, in order
    upload: OpenUpload | None  #: None when no slice needed one
    open_upload: Callable[[], OpenUpload]  #: opens (or finds) the upload, when parts must go up
    max_hole: Fraction
    creation_time: datetime | None
    checkpoint: Callable[[], None]
    gap_policy: GapPolicy
    ffmpeg: str  #: path of the program, which encodes silence
    layout: RenditionLayout | None = None  #: to which odd runs have been conformed
    encoding_of: EncodingOf | None = None  #: how pictures of another kind are to be conformed
    sound: Sequence[AudioRendition] = ()  #: that is listed, in playlists of its own
    listed: Sequence[Segment] = ()  #: of the variant's own playlist
    scheme: PartScheme = VARYING_PARTS  #: of the upload, or of the one that would be opened


def assemble(assembly: Assembly) -> AssembledObject:
    """Make the object of all packaged slices: ``ftyp``, ``moov``, ``mdat``, as one progressive MP4.

    Raises ``SliceLost``, ``SlicesChanged`` or ``UploadLost`` when slices must be packaged again,
    ``LayoutNeeded`` when some must be conformed, ``PermanentError`` when the slices do not make one
    movie (``gap_refused``: media is missing, and must not be), ``TransientError`` for an outage.
    """
    layout = lay_out([receipt.payload for receipt in assembly.receipts], assembly.scheme)
    tables, totals = _merge(assembly, layout)
    _refuse_gaps(assembly, tables)
    _settle_layout(assembly, tables.conformance)
    try:
        size = len(tables.silence) + layout.payload_size
        header = write_header(tables.taken(), size, tables.silence, layout.filling)
    except Mp4Error as error:
        message = f"the tables of {assembly.rendition} cannot be written: {error}"
        raise PermanentError(ErrorCode.VERIFICATION_FAILED, message) from error
    parts, head = _write(assembly, layout, header)
    whole = layout.single and assembly.upload is None
    return AssembledObject(
        assembly.location,
        head.size,
        head.etag,
        head.checksum_crc32,
        whole,
        header,
        layout,
        parts,
        tables,
        *totals,
    )


def _merge(assembly: Assembly, layout: ObjectLayout) -> tuple[MovieTables, tuple[int, int, float]]:
    """The tables of all slices, and how many bytes, segments and listed seconds those are of."""
    tables, totals = _merged(assembly, layout, {})
    if tables.detours:
        detours = tables.detours
        del tables  # those of a day take 200 MB
        tables, totals = _merged(assembly, layout, detours)
    if not tables.tracks:
        raise _nothing_left(assembly.rendition, totals[1], tables.losses)
    _tell_absent_sound(assembly, tables)
    return tables, totals


def _merged(
    assembly: Assembly, layout: ObjectLayout, detours: Mapping[Place, str]
) -> tuple[MovieTables, tuple[int, int, float]]:
    tables = _empty_tables(assembly, detours)
    source_bytes, segments, listed = 0, 0, 0.0
    for packaged in _read_tables(assembly):
        tables.add(packaged, layout.offsets[packaged.number])
        source_bytes += packaged.source_bytes
        segments += packaged.source_segments
        listed += packaged.listed_seconds
    tables.finish()
    return tables, (source_bytes, segments, listed)


def _read_tables(assembly: Assembly) -> Iterator[PackagedSlice]:
    """The tables of every slice in order; the next few are read while one is merged."""
    with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="read-tables") as pool:
        ahead: deque[Future[PackagedSlice]] = deque()
        for receipt in assembly.receipts:
            if len(ahead) == READ_AHEAD:
                assembly.checkpoint()
                yield ahead.popleft().result()
            ahead.append(pool.submit(assembly.staging.tables, receipt))
        while ahead:
            assembly.checkpoint()
            yield ahead.popleft().result()


def _tell_absent_sound(assembly: Assembly, tables: MovieTables) -> None:
    """Tell of sound that has no track because nothing of it is there."""
    lost = {(loss.sequence, loss.location) for loss in tables.losses if loss.whole}
    for sound in assembly.sound:
        if (why := why_absent(sound, lost)) is not None:
            tables.tell_absent(f'sound "{sound.name}"', why)


def _nothing_left(rendition: str, segments: int, losses: Sequence[Loss]) -> PermanentError:
    """Why there is no movie at all: what is missing may be brought, what is damaged may not."""
    absent = sum(
        loss.whole and loss.cause in (LossCause.SEGMENT_MISSING, LossCause.GAP_TAG)
        for loss in losses
    )
    if segments and absent == segments:
        message = f"none of the {segments} listed segments is there: upload them, then run it again"
        return PermanentError(ErrorCode.SEGMENT_MISSING, message)
    sealed = [loss for loss in losses if loss.cause is LossCause.NOT_DECRYPTED]
    # A wrong key gives noise, of which one in 256 ends as if it was right.
    noise = (LossCause.NOT_DECRYPTED, LossCause.SEGMENT_UNREADABLE)
    if sealed and all(loss.cause in noise for loss in losses):
        first = f"segment {sealed[0].sequence} ({sealed[0].location}): {sealed[0].detail}"
        message = f"none of the {segments} listed segments can be decrypted; {first}"
        return PermanentError(ErrorCode.ENCRYPTION_UNSUPPORTED, message)
    causes = Counter(str(loss.cause) for loss in losses if loss.whole)
    found = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
    message = f"none of the {segments} listed segments holds media for {rendition}"
    message = f"{message}: {found}" if found else message
    return PermanentError(ErrorCode.SEGMENT_DAMAGED, message)


def _empty_tables(assembly: Assembly, detours: Mapping[Place, str]) -> MovieTables:
    def silence(codec: Codec, sample_entry: bytes, timescale: int) -> SilentSound:
        return silent_sound(codec, sample_entry, timescale, assembly.ffmpeg, assembly.checkpoint)

    return MovieTables(
        assembly.max_hole,
        assembly.creation_time,
        assembly.gap_policy,
        silence,
        assembly.layout,
        detours,
        ListedClock(assembly.listed),
    )


def _refuse_gaps(assembly: Assembly, tables: MovieTables) -> None:
    """Refuse a recording that lacks media, where the policy is to."""
    if assembly.gap_policy is GapPolicy.FAIL:
        missing = next(missing_media(tables), None)
        if missing is not None:
            message = f"{missing}; FINALIZER_GAP_POLICY refuses gaps"
            raise PermanentError(ErrorCode.GAP_REFUSED, message)


def _settle_layout(assembly: Assembly, conformance: Conformance) -> None:
    """Raise ``LayoutNeeded`` when runs are not alike and were not conformed yet."""
    if assembly.layout is None:
        layout = conformance.census.layout(assembly.encoding_of or _no_encoding)
        if layout is not None:
            raise LayoutNeeded(layout, conformance.census.reasons())
    conformance.refuse_odd()


def _no_encoding(main: MainPictures) -> VideoEncoding:
    message = f"no encoder is set up to make pictures like {main.codec}"
    raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)


def _write(
    assembly: Assembly, layout: ObjectLayout, header: bytes
) -> tuple[tuple[UploadedPart, ...], ObjectHead]:
    parts = layout.parts(len(header))
    if layout.single and assembly.upload is None:
        bodies = (_body(assembly, part, header) for part in parts if isinstance(part, StagedPart))
        return _write_whole(assembly, b"".join(bodies))
    upload = assembly.upload or assembly.open_upload()
    done = _already_done(assembly, upload)
    if done is not None and done.size != len(header) + layout.payload_size:
        raise UploadLost(f"{assembly.location} was completed before its last slices came")
    if done is None:
        _check_parts(assembly, upload)
        _abort_others(assembly, upload)
    written = tuple(_uploaded(assembly, upload, parts, header, done is not None))
    return written, done or _complete(assembly, upload, written)


def _write_whole(assembly: Assembly, body: bytes) -> tuple[tuple[UploadedPart, ...], ObjectHead]:
    """Write a small object in one request, and never over one that a newer run published.

    A request that timed out may still be carried out, or be repeated, after its run was replaced;
    so it only ever creates. What an earlier attempt of this revision left is removed first, which
    the lease guards.
    """
    digest = {NONCE: hashlib.sha256(body).hexdigest()}
    try:
        written = assembly.store.create(assembly.location, body, MP4, digest)
    except ObjectExists:
        head = assembly.store.head(assembly.location)
        if head.metadata.get(NONCE) == digest[NONCE]:
            return (UploadedPart(HEADER_PART, len(body), head.etag, zlib.crc32(body)),), head
        assembly.checkpoint()
        assembly.store.delete([assembly.location])
        written = assembly.store.create(assembly.location, body, MP4, digest)
    return (written,), assembly.store.head(assembly.location)


def _body(assembly: Assembly, part: StagedPart, header: bytes) -> bytes:
    """The bytes of a part made now: of the header, of staged payloads in order, padding."""
    begin, end = part.header
    pieces: list[bytes | memoryview] = [memoryview(header)[begin:end]]
    for number, since, until in part.slices:
        pieces.append(memoryview(assembly.staging.payload(assembly.receipts[number]))[since:until])
    return b"".join((*pieces, bytes(part.padding)))


def _uploaded(
    assembly: Assembly,
    upload: OpenUpload,
    parts: Sequence[StagedPart | UploadedPart],
    header: bytes,
    done: bool,
) -> Iterator[UploadedPart]:
    """Upload the parts that are made at assembly, last to first: the header goes up last."""
    written: list[UploadedPart] = []
    for part in reversed(parts):
        assembly.checkpoint()
        if isinstance(part, UploadedPart):
            written.append(part)
            continue
        body = _body(assembly, part, header)
        if done:
            written.append(UploadedPart(part.number, len(body), "", zlib.crc32(body)))
            continue
        try:
            written.append(
                assembly.store.upload_part(assembly.location, upload.upload_id, part.number, body)
            )
        except UploadMissing as error:
            raise UploadLost(str(error)) from error
    yield from reversed(written)


def _check_parts(assembly: Assembly, upload: OpenUpload) -> None:
    """Compare the store's parts with the slices' results, before anything is made of them."""
    try:
        listed = assembly.store.list_parts(assembly.location, upload.upload_id)
    except UploadMissing as error:
        raise UploadLost(str(error)) from error
    changed = tuple(
        receipt.number
        for receipt in assembly.receipts
        for part in receipt.payload.parts
        if ListedPart(part.number, part.size, part.etag) not in listed
        or part.number not in assembly.scheme.numbers(receipt.number)
        or assembly.scheme.padding(part.size)
    )
    if changed:
        raise SlicesChanged(tuple(dict.fromkeys(changed)))


def _abort_others(assembly: Assembly, upload: OpenUpload) -> None:
    """Abort every other upload of the key, so that an older run's `complete` finds nothing."""
    for upload_id in assembly.store.open_uploads(assembly.location):
        if upload_id != upload.upload_id:
            assembly.store.abort_upload(assembly.location, upload_id)


def _already_done(assembly: Assembly, upload: OpenUpload) -> ObjectHead | None:
    """The object when an earlier `complete` of this very upload succeeded, its answer lost."""
    try:
        head = assembly.store.head(assembly.location)
    except ObjectMissing:
        return None
    return head if head.metadata.get(NONCE) == upload.nonce else None


def _complete(
    assembly: Assembly, upload: OpenUpload, parts: tuple[UploadedPart, ...]
) -> ObjectHead:
    assembly.checkpoint()
    try:
        assembly.store.complete_upload(assembly.location, upload.upload_id, parts)
    except PartsRefused as error:
        message = f"the store refused the parts of {assembly.location} ({error.code})"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message) from error
    except (UploadMissing, TransientError) as error:
        done = _already_done(assembly, upload)
        if done is None and isinstance(error, UploadMissing):
            raise UploadLost(str(error)) from error
        if done is None:
            raise
        return done
    return assembly.store.head(assembly.location)
