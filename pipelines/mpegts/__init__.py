"""MPEG transport streams (ISO/IEC 13818-1): what a segment holds, seen without ffmpeg."""
