#pragma once
// Files that appear whole or not at all.

#include <functional>
#include <ostream>
#include <string>
#include <string_view>

namespace tessera {

/// Writes path.tmp and renames it, so that a reader never sees half a file.  Throws Error with the system's own words when
/// that fails (full disk); what was there before stays then, and nothing else is left.
void replace_file(const std::string& path, std::string_view text);
/// The same with what write() puts into the stream, which throws nothing by itself; when write() throws, so does this.
void replace_file(const std::string& path, const std::function<void(std::ostream&)>& write);

}  // namespace tessera
