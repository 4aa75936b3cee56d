.PHONY: test lint fuzz
# All tests, on the embedded and on the real backends, which this installs and starts.
test:
	tests/backends/run.py sh -c 'buf lint proto && cargo-deny check licenses bans sources && cargo build --workspace --bins && cargo test --workspace'
	fuzz/run 5

# Fuzzes each target for a minute.
fuzz:
	fuzz/run 60

# What CI looks at before it tests.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
