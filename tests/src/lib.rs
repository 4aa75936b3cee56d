//! End-to-end tests: see `tests/`. Each runs all of Madang on free ports in its own folder.
