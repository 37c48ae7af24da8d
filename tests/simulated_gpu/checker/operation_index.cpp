#include "tests/simulated_gpu/checker/operation_index.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace simulated_gpu {

OperationIndex::OperationIndex(uint32_t numbers_before_renumbering, size_t ranges_before_renumbering)
    : numbers_before_renumbering_(numbers_before_renumbering),
      ranges_before_renumbering_(ranges_before_renumbering) {}

void OperationIndex::begin(OperationPointer operation) {
  if (operation == current_) return;
  current_ = std::move(operation);
  joined_.clear();
  last_answer_ = {};
  ordered_below_ = next_;
  for (size_t timeline = 0; timeline < timelines_.size(); ++timeline) {
    const uint64_t known = current_->clock[static_cast<int>(timeline)];
    const auto& places = timelines_[timeline];
    const auto unordered =
        std::upper_bound(places.begin(), places.end(), known,
                         [](uint64_t count, const Place& place) { return count < place.count; });
    if (unordered != places.end()) ordered_below_ = std::min(ordered_below_, unordered->first);
  }
  append({current_});
  note_place(*current_, next_);
}

void OperationIndex::append(std::vector<OperationPointer> operations) {
  if (!ranges_.empty() && ranges_.back().first == next_) ranges_.pop_back();  // it got no number
  ranges_.push_back({next_, std::move(operations)});
}

void OperationIndex::note_place(const Operation& operation, uint32_t first) {
  const auto timeline = static_cast<size_t>(operation.timeline);
  if (timelines_.size() <= timeline) timelines_.resize(timeline + 1);
  auto& places = timelines_[timeline];
  const uint64_t count = operation.clock[operation.timeline];
  // An operation that runs again, or after a later one of its timeline (an allocation), is unordered whenever
  // the entry that is there is, and that one has the lower number.
  if (places.empty() || places.back().count < count) places.push_back({count, first});
}

uint32_t OperationIndex::issue() {
  if (next_ >= kNumbers)
    throw std::runtime_error("simulated GPU: " + current_->name + " has too many accesses for the checkers");
  return next_++;
}

size_t OperationIndex::find(uint32_t number) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), number,
                                      [](uint32_t value, const Range& range) { return value < range.first; });
  return static_cast<size_t>(std::distance(ranges_.begin(), after)) - 1;
}

bool OperationIndex::comes_before_current(const Operation& operation) const {
  return &operation == current_.get() || happens_before(operation, *current_);
}

bool OperationIndex::is_ordered(uint32_t number) {
  if (number < ordered_below_) return true;
  if (number >= last_answer_.from && number < last_answer_.to) return last_answer_.is_ordered;
  const size_t index = find(number);
  const Range& range = ranges_[index];
  last_answer_.from = range.first;
  last_answer_.to = index + 1 < ranges_.size() ? ranges_[index + 1].first : next_;
  last_answer_.is_ordered =
      std::all_of(range.operations.begin(), range.operations.end(),
                  [&](const OperationPointer& operation) { return comes_before_current(*operation); });
  return last_answer_.is_ordered;
}

const Operation& OperationIndex::culprit(uint32_t number) const {
  const auto& operations = ranges_[find(number)].operations;
  for (const OperationPointer& operation : operations)
    if (!comes_before_current(*operation)) return *operation;
  return *operations.front();
}

uint32_t OperationIndex::join(uint32_t a, uint32_t b) {
  const size_t first = find(a), second = find(b);
  if (first == second) return a;
  const auto known = joined_.find({a, b});
  if (known != joined_.end()) return known->second;
  std::vector<OperationPointer> operations;
  for (const size_t range : {first, second})
    for (const OperationPointer& operation : ranges_[range].operations)
      if (!comes_before_current(*operation) &&
          std::find(operations.begin(), operations.end(), operation) == operations.end())
        operations.push_back(operation);
  append(std::move(operations));
  const uint32_t number = issue();
  append({current_});
  joined_[{a, b}] = number;
  return number;
}

bool OperationIndex::is_renumbering_due() const {
  return next_ >= numbers_before_renumbering_ || ranges_.size() >= ranges_before_renumbering_;
}

void OperationIndex::renumber(const std::vector<std::span<Accessor>>& cells) {
  std::vector<uint32_t> renumbered(ranges_.size(), 0);
  const auto for_each_named = [&](auto&& visit) {
    Accessor last = 0;  // neighbours are mostly alike
    size_t range = 0;
    for (const auto span : cells)
      for (Accessor& cell : span) {
        if (!cell) continue;
        if (number_of(cell) != number_of(last)) range = find(number_of(cell));
        last = cell;
        visit(cell, renumbered[range]);
      }
  };
  for_each_named([](Accessor&, uint32_t& number) { number = 1; });

  std::vector<Range> kept;
  timelines_.clear();
  next_ = 1;
  for (size_t i = 0; i < ranges_.size(); ++i) {
    if (!renumbered[i]) continue;
    renumbered[i] = next_;
    for (const OperationPointer& operation : ranges_[i].operations) note_place(*operation, next_);
    kept.push_back({next_++, std::move(ranges_[i].operations)});
  }
  for_each_named([](Accessor& cell, uint32_t number) { cell = accessor(number); });
  ranges_ = std::move(kept);
  // The next operation begins afresh.
  current_.reset();
  joined_.clear();
  last_answer_ = {};
  ordered_below_ = 1;
}

}  // namespace simulated_gpu
