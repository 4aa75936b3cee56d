.PHONY: test
# All tests, on the embedded and on the real backends.
test:
	cargo test --workspace
