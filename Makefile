# The two commands of the README (demo, test) and the habits of a developer.

BUILD := build/release
RANKS := 2
THREADS := 1
CTEST := ctest --test-dir $(BUILD) --output-on-failure -j2

.PHONY: demo test test-all check build bench sanitize verify-layouts verify-slurm verify-faults parallel-mutants format clean
.PHONY: step-profile step-ratios overhead history scaling moma-study caption-match
.PHONY: cuda-check cuda-mutants cuda-coverage kernel-report gpu-check

demo: ## train a small model on real images and text, and write a report page
	@cmake/install_dependencies.sh build
	@launch/demo.sh

moma-study: ## train five variants at equal operations with three seeds each on the demo's corpus, and compare them
	@cmake/install_dependencies.sh build
	@cmake --preset program >/dev/null
	@cmake --build --preset program
	@launch/moma_study.sh

caption-match: ## generate pictures for held-out captions with the demo's model: do they fit their captions?
	@launch/caption_match.sh

test: ## build, and run unit tests, mpirun tests and a sample of the long gates
	@cmake/install_dependencies.sh build test
	@$(MAKE) --no-print-directory build
	$(CTEST) -LE full

test-all: ## every gate whole
	@cmake/install_dependencies.sh build test slurm
	@$(MAKE) --no-print-directory build
	$(CTEST)
	@[ ! -e $(BUILD)/tessera_simulated ] || $(MAKE) --no-print-directory cuda-check kernel-report cuda-mutants
	@$(MAKE) --no-print-directory parallel-mutants
	@$(MAKE) --no-print-directory sanitize

build:
	@cmake --preset release >/dev/null
	@cmake --build --preset release

check: ## format, layering, sizes, build, fast tests
	./check

bench: build ## every kernel and one training step, as fractions of this machine's limits
	$(BUILD)/tessera_bench

verify-layouts: build ## every mesh of 1 to 8 ranks, processes and threads, gives the bits of one rank
	$(BUILD)/launch_test --gtest_filter='VerifyLayouts*'

step-profile: build ## the parts of a training step beside their floors, measured in the same process
	$(BUILD)/step_profile $(BUILD)/step_profile_report $(THREADS)

step-ratios: build ## time per token of the sparse variants over dense, and of f32 over bf16, steps in turns
	$(BUILD)/step_ratios $(BUILD)/step_ratios_report

overhead: build ## what loader, statistics, metrics, trace and checkpoints of a training cost beside its steps
	$(BUILD)/overhead $(BUILD)/overhead_report

SCALING = mpirun --allow-run-as-root -n $(RANKS) --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 $(BUILD)/scaling

scaling: build ## one rank against RANKS: throughput, exposed communication, bytes sent and memory beside their closed forms
	$(SCALING) $(BUILD)/scaling_of_$(RANKS)

COMMIT = $(shell git rev-parse --short HEAD)
RESULTS = $(BUILD)/results_of_$(COMMIT)

history: build ## measure what RESULTS lacks (half an hour), and add a line of ratios to benchmarks/history.jsonl
	@git diff --quiet HEAD || { echo "history: commit first what is to be recorded"; exit 1; }
	mkdir -p $(RESULTS)
	[ -e $(RESULTS)/step_profile.jsonl ] || $(BUILD)/step_profile $(RESULTS) 1
	[ -e $(RESULTS)/step_ratios.jsonl ] || $(BUILD)/step_ratios $(RESULTS) cpu_small
	[ -e $(RESULTS)/overhead.jsonl ] || $(BUILD)/overhead $(RESULTS)
	[ -e $(RESULTS)/scaling.jsonl ] || $(SCALING) $(RESULTS)
	$(BUILD)/record_history $(RESULTS) $(COMMIT) benchmarks/history.jsonl $(BUILD)/history.html

verify-slurm: ## trainings as jobs of a real Slurm on this machine: stopped, requeued, resumed, the same bits
	@cmake/install_dependencies.sh build test slurm
	@$(MAKE) --no-print-directory build
	tests/slurm/cluster.sh 2 2 $(BUILD)/slurm_cluster || [ $$? = 77 ]

verify-faults: build ## kill -9 at 100 drawn points, damaged files, full and read-only disks: runs go on and end with the same bits
	$(BUILD)/launch_test --gtest_filter='VerifyFaults*:DamageTest*'

parallel-mutants: build ## break parallel training one place at a time: the tests must notice
	tests/parallel_mutants.py $(BUILD)

sanitize: ## fast tests under the address, undefined-behaviour and thread sanitizers
	tests/sanitize.sh

PROFILE := $(BUILD)/cuda_profile.json

cuda-check: ## machine code for every architecture without spills; registers and occupancy are those of the table
	@cmake --preset cuda >/dev/null
	@cmake --build --preset cuda
	@$(MAKE) --no-print-directory $(PROFILE)
	tests/cuda_resources.py build/cuda $(PROFILE) kernels/cuda_resources.md

# What the simulated GPU counted while the op table ran.
$(PROFILE): build
	$(CTEST) -R '^cuda_profile$$'

cuda-coverage: build ## source lines of the CUDA kernels that the tests execute
	$(CTEST) -R '^cuda_coverage$$' -V

cuda-mutants: build ## break the CUDA sources one place at a time: the tests must notice
	tests/cuda_mutants.py $(BUILD)

kernel-report: build ## bytes, operations, occupancy and predicted times of every CUDA kernel, as a table and a picture
	@cmake --preset cuda >/dev/null
	@cmake --build --preset cuda
	SIMULATED_GPU_PROFILE=$(BUILD)/reference_profile.json $(BUILD)/reference_launches
	tests/kernel_report/kernel_report.py $(BUILD)/reference_profile.json build/kernel_report --ptxas build/cuda

gpu-check: build ## the op table and a short training on a real GPU
	$(BUILD)/gpu_test

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

clean:
	rm -rf build
