"""`python -m hemline ...`, the same as `hemline ...`."""

from hemline.cli import main

if __name__ == "__main__":
    main()
