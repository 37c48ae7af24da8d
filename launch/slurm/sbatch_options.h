#pragma once
// The options that sbatch knows.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

enum class OptionValue { none, optional, required };

struct SbatchOption {
  char letter = 0;  ///< of the short form; 0 when there is none
  std::string_view name;
  OptionValue value = OptionValue::required;
};

/// The option of a long name, or of a beginning that only one has, which sbatch takes as well.
std::optional<SbatchOption> sbatch_option(std::string_view name);
std::optional<SbatchOption> sbatch_option(char letter);

/// The known name nearest to one that is none.
std::string nearest_sbatch_option(const std::string& name);

/// The word that begins the next part of a heterogeneous job, instead of options.
inline constexpr std::string_view kNextPart = "hetjob";

/// One option as it stands in a #SBATCH line or on a command line.
struct GivenOption {
  std::string
      name;  ///< the long name, also where the short form was given; what was written when it is unknown
  std::string value;
  std::string problem{};  ///< why sbatch will not take it; empty when it will
};

/// Throws nothing: what cannot be read becomes an option with a problem.
std::vector<GivenOption> read_sbatch_options(const std::vector<std::string>& words);

}  // namespace tessera
