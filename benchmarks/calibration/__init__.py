"""Do verdicts mean what they say? Proof by simulation, on models whose truth is known.

    python -m benchmarks.calibration            the tables, in some minutes
    python -m benchmarks.calibration --quick    the same with few repeats, in less than a minute
    python -m benchmarks.calibration --write    and puts them into docs/statistics.md

    suite.py      claims made in code, and simulated models with a known effect
    sessions.py   the long way: pytest sessions, each one run of Inspect; their records are read from history
    short.py      the short way: the same models' draws, the same Record, the same `judge`, without pytest and Inspect
    tables.py     what is counted: false verdicts, power, coverage, calls saved
    trends.py     what is counted of trends: false ones, those that are found, nights that change and nights that do not

The short way is a thousand times faster, so that error rates can be counted at all. It stands for the long way because
every record of the long way is made again by the short one, and must be the same in every reply and in its verdict.
"""
