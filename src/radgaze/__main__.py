"""`python -m radgaze` is the same as `radgaze`."""

import sys

from radgaze.cli import main

sys.exit(main())
