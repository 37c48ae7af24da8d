#pragma once
// The HTML page of one or several runs.

#include <string>
#include <vector>

namespace tessera {

/// Writes one self-contained page (no requests to anywhere; charts are SVG; pictures are inside) about
/// run folders, from their config.json, metrics.jsonl and evaluation.json, and the sample pictures of
/// data_directory/samples, pairs NAME_original.png and NAME_reconstruction.png.  What is missing is said
/// in a sentence; text of files is escaped. data_directory may be empty.  The write is atomic.
/// Throws Error when there is no run, a run folder is missing, a file is there but damaged, or path
/// cannot be written.
void write_report(const std::vector<std::string>& runs, const std::string& data_directory,
                  const std::string& path);

}  // namespace tessera
