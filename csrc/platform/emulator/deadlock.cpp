// Threads that wait for a word of memory, and the report when no thread can run any more.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "platform/emulator/engine.h"
#include "platform/emulator/mbarrier.h"

namespace gpudl::emulator {

void Engine::poll(const Site& site) {
  Thread& me = self();
  me.waiting = site;
  pollers_.push_back(&me);
  Thread* next = next_to_run();
  if (next != &me) switch_to(me.stack, next);
}

void Engine::word_changed(const void* address) {
  futile_rounds_ = 0;
  const auto first = std::stable_partition(pollers_.begin(), pollers_.end(),
                                           [&](const Thread* thread) { return thread->polled != address; });
  for (auto thread = first; thread != pollers_.end(); ++thread) wake(**thread);
  pollers_.erase(first, pollers_.end());
}

// Pollers may wait for another condition, or poll several words in turn: let all look again, but not forever.
bool Engine::wake_pollers() {
  constexpr unsigned MAX_FUTILE_ROUNDS = 1000;
  if (pollers_.empty() || ++futile_rounds_ > MAX_FUTILE_ROUNDS) return false;
  for (Thread* thread : std::exchange(pollers_, {})) wake(*thread);
  return true;
}

void Engine::fail_deadlock() const {
  std::vector<const Thread*> first;  // one thread for each place where threads wait
  std::string text;
  for (unsigned i = 0; i < slots; ++i) {
    const Thread& thread = threads[i];
    const auto waits_there = [&](const Thread* other) { return other->waiting.same_place(thread.waiting); };
    if (thread.finished || std::any_of(first.begin(), first.end(), waits_there)) continue;
    first.push_back(&thread);
    unsigned count = 0;
    for (unsigned j = i; j < slots; ++j) count += !threads[j].finished && waits_there(&threads[j]);
    if (!text.empty()) text += "; ";
    text += std::to_string(count) + (count == 1 ? " waits in " : " wait in ") + thread.waiting.word + " at " +
            thread.waiting.file + ":" + std::to_string(thread.waiting.line) + " (thread " +
            std::to_string(thread.linear);
    if (blocks.size() > 1) text += " of block " + std::to_string(linear_block(wave_, thread.home->number));
    text += count == 1 ? ")" : " is the first)";
  }
  text += describe_awaited_mbarriers();
  current = nullptr;  // no single thread is to blame
  const unsigned all = thread_count * static_cast<unsigned>(blocks.size());
  const std::string where =
      blocks.size() == 1 ? "the block" : "the " + std::to_string(blocks.size()) + " resident blocks";
  fail(first.front()->waiting, "deadlock, no thread of %s can run; of %u threads %u have ended; %s", where.c_str(), all,
       all - live, text.c_str());
}

}  // namespace gpudl::emulator
