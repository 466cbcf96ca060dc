"""`python -m keras_share`: the command line."""

from keras_share.cli.main import main

if __name__ == "__main__":
    main()
