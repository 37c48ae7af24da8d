#pragma once
// A folder that appears whole or not at all: it is filled under the name PATH.tmp and renamed at the end.

#include <string>

namespace tessera {

class FolderDraft {
 public:
  /// Makes an empty PATH.tmp, and the folders above it; what an interrupted run left there is removed.
  explicit FolderDraft(std::string path);
  ~FolderDraft();  ///< removes PATH.tmp when it was not published
  FolderDraft(const FolderDraft&) = delete;
  FolderDraft& operator=(const FolderDraft&) = delete;

  const std::string& path() const { return draft_; }

  /// Puts the draft in the place of PATH; a folder of that name is replaced in one step.  Throws Error when that fails.
  void publish();

 private:
  std::string path_, draft_;
  bool published_ = false;
};

}  // namespace tessera
