"""later"""

import argparse


def run(asked: argparse.Namespace) -> int:
    return 0
