#pragma once
// `tessera study`: variants of a model, trained on the same data with several seeds, compared by the floating-point operations
// that they need.
//
//   OUT.html   loss of each modality against operations, mean over seeds, and a table; self-contained
//   OUT.json   the same numbers: for each variant its runs, and of every number the mean, the least and the greatest over seeds
//
// Saving factor of a variant: the operations of the whole baseline run over those at which the variant first has the baseline's
// last loss.  A variant that never gets there counts the other way round: the operations at which the baseline had the
// variant's last loss over those of the whole variant, a number below 1.  Both by means over a quarter of the steps (an eighth at the
// end), seed by seed.  The factor of the baseline itself, 1 but for noise, says how far the others can be trusted.  Source: MoMa (arXiv 2407.21770), 3.2, eta.
//
// Training losses come from routing that sees later tokens, where routers compare tokens; losses by thresholds stand beside.

#include <string>
#include <vector>

#include "launch/report_data.h"

namespace tessera {

/// Runs of one variant, seed by seed in the same order as those of the others.
struct StudyVariant {
  std::string name;
  std::vector<ReportRun> runs;
};

/// "NAME=RUN,RUN,..." with as many runs as the first has.  Throws Error naming the part that is wrong.
std::vector<StudyVariant> read_study(const std::vector<std::string>& variants);

/// The saving factor of one run; none when the losses never meet.
std::optional<double> saving_factor(const ReportRun& baseline, const ReportRun& run,
                                    const std::string& column);

/// variants: NAME=RUN,RUN,..., the first one is the baseline.  out: path without extension.  Prints a table.  Throws Error when
/// a run has no metrics or evaluation.
void write_study(const std::vector<std::string>& variants, const std::string& out);

}  // namespace tessera
