# The two commands of the README (demo, test) and the habits of a developer.

BUILD := build/release
CTEST := ctest --test-dir $(BUILD) --output-on-failure -j2

.PHONY: demo test test-all check build bench sanitize verify-ranks format clean

demo: ## train a small model on real images and text, and write a report page
	@cmake/install_dependencies.sh build
	@launch/demo.sh

test: ## build, and run unit tests, mpirun tests and a sample of the long gates
	@cmake/install_dependencies.sh build test
	@$(MAKE) --no-print-directory build
	$(CTEST) -LE full

test-all: ## every gate whole
	@cmake/install_dependencies.sh build test
	@$(MAKE) --no-print-directory build
	$(CTEST)
	@$(MAKE) --no-print-directory sanitize

build:
	@cmake --preset release >/dev/null
	@cmake --build --preset release

check: ## format, layering, sizes, build, fast tests
	./check

bench: build ## every kernel and one training step, as fractions of this machine's limits
	$(BUILD)/tessera_bench

verify-ranks: build ## 1 to 4 ranks, processes and threads, give the same bits
	$(BUILD)/launch_test --gtest_filter='VerifyRanks*'

sanitize: ## fast tests under the address, undefined-behaviour and thread sanitizers
	tests/sanitize.sh

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

clean:
	rm -rf build
