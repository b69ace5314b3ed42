"""Faults that are seeded into packaging itself: what stands in for one of its methods, and errs.

Each is called with the method that it stands in for, and with what that was called with.
"""

from dataclasses import replace


def spoil_once(monkeypatch, where, name, spoil):
    """Let ``spoil`` stand in for a method once, on its second call; it is given the method."""
    calls = []
    kept = getattr(where, name)

    def spoiled(*arguments, **options):
        calls.append(name)
        if len(calls) == 2:
            return spoil(kept, *arguments, **options)
        return kept(*arguments, **options)

    monkeypatch.setattr(where, name, spoiled)
    return calls


def shortened(track):
    """A track of a fragment without its last sample."""
    [run] = track.runs
    count = run.count - 1
    run = replace(run, count=count, size=int(track.sizes[:count].sum()))
    columns = {
        name: getattr(track, name)[:count] for name in ("durations", "composition", "sizes", "sync")
    }
    return replace(track, **columns, runs=(run,))


def swapped(data, first, second, size):
    """A copy of ``data`` with two pieces of ``size`` bytes at these offsets exchanged."""
    changed = bytearray(data)
    changed[first : first + size], changed[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )
    assert changed != data
    return memoryview(changed)


def drop_sample(take, cutter, fragment):
    take(cutter, replace(fragment, tracks=(shortened(fragment.tracks[0]), *fragment.tracks[1:])))


def drop_fragment(take, cutter, fragment):
    """Nothing is done with it."""


def repeat_fragment(take, cutter, fragment):
    take(cutter, fragment)
    take(cutter, fragment)


def swap_samples(take, cutter, fragment):
    """Exchange the bytes of the first two sounds, which are as many."""
    sound = fragment.tracks[-1]
    size = int(sound.sizes[0])
    assert set(sound.sizes[:2].tolist()) == {size}
    begin = sound.runs[0].offset
    take(cutter, replace(fragment, payload=swapped(fragment.payload, begin, begin + size, size)))


def change_picture(take, cutter, fragment):
    """Change a byte in the middle of the last picture."""
    pictures = fragment.tracks[0]
    last = pictures.runs[-1]
    changed = bytearray(fragment.payload)
    changed[last.offset + last.size - int(pictures.sizes[-1]) // 2] ^= 1
    take(cutter, replace(fragment, payload=memoryview(changed)))


def swap_written(write, writer, data):
    return write(writer, swapped(data, 0, len(data) // 2, 100))


def write_elsewhere(write, writer, data):
    return write(writer, data) + 1


def write_less(write, writer, data):
    return write(writer, data[:-1])
