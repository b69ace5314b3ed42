"""Losses that are none: another segment has what one lacks, such as the whole of a broken upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.repair import RepairKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.loss import Loss
    from pipelines.repair import Repair


def unfilled(losses: Iterable[Loss], repairs: Iterable[Repair]) -> list[Loss]:
    """The losses without those of the end of a segment that another one has.

    That is one that repeats it and goes on, or one of which it is a part itself: all that it has
    came before.
    """
    again = [each for each in repairs if each.kind is RepairKind.DUPLICATE and not each.rendition]
    filled = {each.sequence if each.whole else each.sequence - 1 for each in again}
    return [each for each in losses if not (_lacks_its_end(each) and each.sequence in filled)]


def _lacks_its_end(loss: Loss) -> bool:
    """Whether the end of a segment is lost, and no other part of it that is as long as any told."""
    return not (loss.whole or loss.at_start or loss.rendition) and loss.seconds > 0
