"""``python -m collectord`` and the ``collectord`` command."""

from collectord.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
