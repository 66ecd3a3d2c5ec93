"""``python -m voicecore.service.probe``: the same without loading the service."""

import sys

from voicecore.service.probe.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
