#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/runtime/device.h"
#include "tests/simulated_gpu/runtime/exit.h"
#include "tests/simulated_gpu/runtime/pinned.h"

namespace simulated_gpu {
namespace {

constexpr uintptr_t kPage = 4096;

struct Pages {
  uintptr_t begin = 0, end = 0;
};

/// Whole pages around the range; of registered memory only pages that hold nothing else.
Pages pages_of(const HostRange& range) {
  Pages pages{range.begin / kPage * kPage, (range.end() + kPage - 1) / kPage * kPage};
  const auto block = pinned_block_of(reinterpret_cast<const void*>(range.begin));
  if (block && block->is_registered) {
    pages.begin = std::max(pages.begin, (block->address + kPage - 1) / kPage * kPage);
    pages.end = std::min(pages.end, (block->address + block->bytes) / kPage * kPage);
  }
  return pages;
}

/// One queued copy.  Nodes are never freed, only used again, so that the signal handler can walk the list at
/// any time.
struct Guard {
  std::atomic<bool> is_active{false};
  std::atomic<uintptr_t> touched{0};  ///< an address of the range that the host came to too early
  HostRange range{};
  Pages pages;
  int protection = PROT_NONE;
  OperationPointer operation;
  Guard* next = nullptr;
};

std::atomic<Guard*> guards{nullptr};
struct sigaction previous_action;

/// Async-signal-safe: only atomics, plain reads of active nodes, mprotect and write.  The list of devices is
/// read as well, but nothing that changes it faults.
void on_fault(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  bool is_guarded = false;
  for (Guard* guard = guards.load(); guard; guard = guard->next) {
    if (!guard->is_active.load() || address < guard->pages.begin || address >= guard->pages.end) continue;
    is_guarded = true;
    if (guard->range.contains(address)) guard->touched.store(address);
  }
  if (device_of(info->si_addr)) {
    constexpr char kSentence[] = "simulated GPU: host code touches device memory, here:\n";
    if (write(STDERR_FILENO, kSentence, sizeof kSentence - 1) < 0) _exit(kExitCodeOfReports);
  }
  if (is_guarded) {
    mprotect(reinterpret_cast<void*>(address / kPage * kPage), kPage, PROT_READ | PROT_WRITE);
  } else if ((previous_action.sa_flags & SA_SIGINFO) && previous_action.sa_sigaction) {
    previous_action.sa_sigaction(signal, info, context);
  } else {
    sigaction(signal, &previous_action, nullptr);  // the access is repeated and faults for good
  }
}

void protect(Pages pages, int protection) {
  if (pages.begin >= pages.end) return;
  if (mprotect(reinterpret_cast<void*>(pages.begin), pages.end - pages.begin, protection) != 0) {
    throw std::runtime_error(std::string("mprotect of pinned memory: ") + std::strerror(errno));
  }
}

template <class Visit>
void for_each_active(Visit visit) {
  for (Guard* guard = guards.load(); guard; guard = guard->next) {
    if (guard->is_active.load()) visit(*guard);
  }
}

Guard& unused_guard() {
  for (Guard* guard = guards.load(); guard; guard = guard->next) {
    if (!guard->is_active.load()) return *guard;
  }
  auto* guard = new Guard;
  guard->next = guards.load();
  guards.store(guard);
  return *guard;
}

/// Puts the pages under what the active guards want: no access beats read-only.
void protect_again(Pages pages) {
  for (const int protection : {PROT_READ, PROT_NONE}) {
    for_each_active([&](const Guard& guard) {
      if (guard.protection != protection || guard.touched.load()) return;
      protect({std::max(pages.begin, guard.pages.begin), std::min(pages.end, guard.pages.end)}, protection);
    });
  }
}

bool overlap(const HostRange& a, const HostRange& b) { return a.begin < b.end() && b.begin < a.end(); }

void report_unordered(const Guard& earlier, const Operation& later) {
  add_report(
      {ReportKind::stream,
       later.name + " and " + earlier.operation->name + " use the same pinned bytes and nothing orders them",
       later.name, "", ""});
}

void report_touched(const Guard& guard) {
  const bool device_writes = guard.protection == PROT_NONE;
  add_report({ReportKind::stream,
              "the host " + std::string(device_writes ? "touches" : "writes to") + " byte " +
                  std::to_string(guard.touched.load() - guard.range.begin) + " of the pinned memory that " +
                  guard.operation->name + (device_writes ? " writes" : " reads") +
                  ", without having waited for it",
              guard.operation->name, "", ""});
}

}  // namespace

void install_fault_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, &previous_action) != 0)
      throw std::runtime_error("sigaction of SIGSEGV failed");
  });
}

void guard_host_range(const HostRange& range, bool device_writes, OperationPointer operation) {
  for_each_active([&](const Guard& guard) {
    const bool one_writes = device_writes || guard.protection == PROT_NONE;
    if (one_writes && overlap(guard.range, range) && !happens_before(*guard.operation, *operation)) {
      report_unordered(guard, *operation);
    }
  });
  Guard& guard = unused_guard();
  guard.range = range;
  guard.protection = device_writes ? PROT_NONE : PROT_READ;
  guard.operation = std::move(operation);
  guard.touched.store(0);
  guard.pages = pages_of(range);
  guard.is_active.store(true);
  protect_again(guard.pages);
}

void release_host_guards(const VectorClock& host) {
  for_each_active([&](Guard& guard) {
    const Operation& operation = *guard.operation;
    if (operation.clock[operation.timeline] > host[operation.timeline]) return;
    if (guard.touched.load()) report_touched(guard);
    guard.is_active.store(false);
    protect(guard.pages, PROT_READ | PROT_WRITE);
    protect_again(guard.pages);
    guard.operation = nullptr;
  });
}

void report_touched_guards() {
  for_each_active([](const Guard& guard) {
    if (guard.touched.load()) report_touched(guard);
  });
}

HostRangeAccess::HostRangeAccess(const HostRange& range) : range_(range) {
  protect(pages_of(range_), PROT_READ | PROT_WRITE);
}

HostRangeAccess::~HostRangeAccess() { protect_again(pages_of(range_)); }

}  // namespace simulated_gpu
