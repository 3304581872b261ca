"""``python -m cyclegan`` is the command ``cyclegan``."""

from cyclegan.cli.main import main

if __name__ == "__main__":
    main()
