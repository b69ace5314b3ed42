"""ISO base media files (ISO/IEC 14496-12): reading fragments, writing one progressive movie."""
