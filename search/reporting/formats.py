"""Numbers as people read them."""


def format_bytes(size: float) -> str:
    """Bytes in units of 1024, as flash is sold."""
    return f"{size / 1024:.1f} KB" if size < 1024**2 else f"{size / 1024**2:.2f} MB"


def format_seconds(seconds: float) -> str:
    """Seconds, or minutes or hours where these read better."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
