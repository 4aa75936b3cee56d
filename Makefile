.PHONY: test lint
# All tests, on the embedded and on the real backends, which this installs and starts.
test:
	tests/backends/run.py sh -c 'buf lint proto && cargo-deny check licenses bans sources && cargo test --workspace'

# What CI looks at before it tests.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
