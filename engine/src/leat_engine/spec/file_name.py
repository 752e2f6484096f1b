"""Names of files that a step is given."""


def file_name(name: str) -> str:
    """The name, if it is that of a file below the step's directory, whatever it is put together from."""
    if name.startswith("/") or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"found {name!r}, expected a file below the step's directory, such as in/data.csv")
    return name
