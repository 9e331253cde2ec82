"""What a hardware description says of drives that fail, in words."""

from itertools import groupby

from cost_models.hardware import HardwareSpec


def fault_notes(hw: HardwareSpec) -> tuple[str, ...]:
    """Returns a note for each run of drives with the same faults; none for drives that never fail."""
    notes: list[str] = []
    for faults, members in groupby(range(len(hw.drives)), lambda index: hw.drives[index].faults):
        first, *others = members
        if faults is not None:
            drives = f"csd{first}-{others[-1]} are" if others else f"csd{first} is"
            notes.append(f"{drives} made to fail: {faults.description}; predictions leave faults aside")
    return tuple(notes)
