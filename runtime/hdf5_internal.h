#pragma once
// What the sources of runtime/hdf5.h share; nobody else includes it.

#include <hdf5.h>

#include <string>
#include <utility>

#include "runtime/hdf5.h"

namespace tessera::hdf5 {

/// Closes an identifier of any kind.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  hid_t id() const { return id_; }
  hid_t release() { return std::exchange(id_, -1); }

 private:
  hid_t id_;
  Close close_;
};

/// Called first by every entry point.  The library prints its error stack unless each thread tells it not to, and at
/// exit it would close again, and crash on, a file that it could not close before (see close_or_abandon).
void silence();

/// The innermost entry of the error stack: the system's words where a system call failed.
std::string reason();

[[noreturn]] void fail(const std::string& where, const char* what);

/// The identifier, or an Error when it is none.
hid_t checked(hid_t id, const std::string& where, const char* what);

struct ElementTypes {
  const char* name;
  hid_t stored, memory;
};

ElementTypes types_of(Element element);

}  // namespace tessera::hdf5
