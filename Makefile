.PHONY: test lint fuzz chart
# All tests, on the embedded and on the real backends, which this installs and starts.
test:
	tests/backends/run.py sh -c 'buf lint proto && cargo-deny check licenses bans sources && helm/check && cargo build --workspace --bins && cargo test --workspace'
	fuzz/run 5

# Fuzzes each target for a minute.
fuzz:
	fuzz/run 60

# Renders the Helm chart in several ways, and checks what comes out; no cluster is needed.
chart:
	helm/check

# What CI looks at before it tests.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
