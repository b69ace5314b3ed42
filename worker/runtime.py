"""Everything that one worker process works with, made once from the settings."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import structlog

from pipelines.errors import ErrorCode, PermanentError
from pipelines.head_start import HeadStart
from pipelines.location import Location, source_location
from pipelines.memory_budget import MemoryBudget
from pipelines.object_store import ObjectStore, connect
from pipelines.package import Packager
from pipelines.publish import OutputNames, Publisher
from pipelines.source import SourceReader
from pipelines.staging import Staging
from pipelines.store_pace import StorePace
from pipelines.tools import MediaTools, locate
from pipelines.vod_segments import PublicSource, SegmentPlacer
from worker.isolation import Isolation
from worker.outages import Outages
from worker.presence import Roster
from worker.store import SessionStore, open_redis
from worker.work import Work

if TYPE_CHECKING:
    from pipelines.session import Session
    from worker.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Runtime:
    """The stores, tools and settings of one process; safe to share between its threads."""

    settings: Settings
    sessions: SessionStore
    work: Work
    roster: Roster
    output: ObjectStore
    reader: SourceReader
    tools: MediaTools
    memory: MemoryBudget
    head_start: HeadStart
    outages: Outages
    isolation: Isolation
    stop: threading.Event  #: set when the process is asked to end

    @classmethod
    def open(cls, settings: Settings) -> Runtime:
        """Connect to everything that the settings name; nothing is asked of it yet."""
        client = open_redis(settings)
        stop = threading.Event()
        output = _open_store(settings.output_profile, stop)
        source = output
        if settings.source_profile != settings.output_profile:
            source = _open_store(settings.source_profile, stop)
        return cls(
            settings=settings,
            sessions=SessionStore(
                client,
                prefix=settings.redis_prefix,
                idle_timeout=settings.silence,
                package_live=settings.package_live,
            ),
            work=Work(client, settings.redis_prefix),
            roster=Roster(client, settings.redis_prefix),
            output=output,
            reader=SourceReader(source),
            tools=locate(settings.ffmpeg, settings.ffprobe),
            memory=MemoryBudget(settings.memory_budget),
            head_start=HeadStart(),
            outages=Outages(),
            isolation=Isolation(),
            stop=stop,
        )

    @property
    def lease_ms(self) -> int:
        """How long a lease holds without being renewed."""
        return round(self.settings.lease * 1000)

    @property
    def idle_ms(self) -> int:
        """After how long without a sign of life a session is idle."""
        return round(self.settings.idle_timeout * 1000)

    @property
    def max_hole(self) -> Fraction:
        """The longest forward jump of the clock, in seconds, that is still the same clock."""
        return Fraction(self.settings.max_hole).limit_denominator(1000)

    @property
    def packager(self) -> Packager:
        """What packaging a slice needs."""
        return Packager(
            self.reader,
            self.tools.ffmpeg,
            self.max_hole,
            memory=self.memory,
            head_start=self.head_start,
        )

    @property
    def permitted_sources(self) -> tuple[Location, ...]:
        """Prefixes besides its own folder that a recording may refer to: only those that an
        operator wrote down, so that by default no recording reaches into another one."""
        named = "source_prefixes" in self.settings.model_fields_set
        return self.settings.permitted_sources if named else ()

    def playlist_location(self, session: Session) -> Location:
        """Where the session's playlist lies; ``PermanentError`` when that is not allowed.

        Looked at again although the settings are checked at start: what we write must never be
        able to replace what is read.
        """
        location = source_location(self.settings.source_url, session, self.settings.session_sources)
        for ours in (self.settings.output, self.settings.staging):
            if location.folder.overlaps(ours.child(f"{session.id}/")):
                message = f"the recording at {location} lies where its MP4s would be written"
                raise PermanentError(ErrorCode.OUTPUT_OVERLAPS_SOURCE, message)
        return location

    def names(self, session_id: str) -> OutputNames:
        """Where the session's published objects lie."""
        public = f"{self.settings.public_url.rstrip('/')}/{session_id}/"
        return OutputNames(self.settings.output.child(f"{session_id}/"), public)

    def staging(self, session_id: str) -> Staging:
        """The staging area of a session."""
        return Staging(self.output, self.settings.staging.child(f"{session_id}/"))

    def publisher(self, session_id: str) -> Publisher:
        """What writes the session's playlists and report."""
        settings = self.settings
        public = None
        if settings.vod == "reference" and settings.source_public_url is not None:
            folder = Location.parse(settings.source_url.partition("{")[0]).folder
            public = PublicSource(folder, settings.source_public_url)
        placer = SegmentPlacer(
            self.output,
            self.reader,
            public,
            same_store=settings.source_profile == settings.output_profile,
        )
        return Publisher(self.output, self.names(session_id), placer)


def _open_store(profile: str | None, stop: threading.Event) -> ObjectStore:
    """The store of a named profile; its retries end when the process is asked to."""

    def told(slowed: bool) -> None:
        if slowed:
            log.warning(
                "The store asks for fewer calls; it gets fewer at once until it copes again.",
                action="store_throttled",
                profile=profile,
            )
        else:
            log.info("The store copes again.", action="store_copes", profile=profile)

    return ObjectStore(connect(profile), StorePace(told), stop)
