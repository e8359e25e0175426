// Messages about races. Hooks cannot throw, so races are stored and thrown when the resident blocks have ended.
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"
#include "platform/emulator/race_clock.h"
#include "platform/emulator/race_shadow.h"
#include "platform/emulator/symbol.h"

namespace gpudl::emulator::race {

namespace {

std::vector<Site> sites;
std::map<std::tuple<const char*, int, const char*>, size_t> site_numbers;

std::vector<Race> races;  // the first for each pair of places
size_t races_seen = 0;
constexpr size_t MAX_SHOWN = 3;

std::string text_of(Place place) {
  if (place.is_code()) return source_line(place.program_counter());
  const Site& site = place.site();
  return std::string(site.word) + " at " + site.file + ":" + std::to_string(site.line);
}

std::string index_text(dim3 extent, uint64_t linear) {
  const uint64_t row = linear / extent.x;
  return "(" + std::to_string(linear % extent.x) + "," + std::to_string(row % extent.y) + "," +
         std::to_string(row / extent.y) + ")";
}

bool is_thread(unsigned agent) { return agent < clocks.threads(); }
// The resident block that a thread belongs to.
unsigned home_of(unsigned agent) { return agent / (engine.slots / static_cast<unsigned>(engine.blocks.size())); }

std::string agent_text(unsigned agent, uint64_t wave, bool name_block) {
  if (!is_thread(agent)) {
    const bool one = engine.blocks.size() == 1;
    return std::string("an asynchronous unit") +
           (name_block && one ? " of block " + index_text(grid_extent, engine.linear_block(wave, 0)) : "");
  }
  const unsigned in_block = agent % (engine.slots / static_cast<unsigned>(engine.blocks.size()));
  std::string text = "thread " + index_text(block_extent, in_block);
  if (name_block) text += " of block " + index_text(grid_extent, engine.linear_block(wave, home_of(agent)));
  return text;
}

std::string describe(const Race& race) {
  const bool two_waves = race.first_wave != race.second_wave;
  const bool name_blocks = two_waves || engine.blocks.size() > 1;
  const std::string second = std::string(race.second_verb) + " by " +
                             agent_text(race.second_agent, race.second_wave, name_blocks) + " in " +
                             text_of(race.second);
  if (race.first_verb == nullptr)
    return describe_address(race.address) + " was " + second + " before anything wrote it";
  std::string text = describe_address(race.address) + " was " + race.first_verb + " by " +
                     agent_text(race.first_agent, race.first_wave, name_blocks) + " in " + text_of(race.first) +
                     " and " + second;
  if (two_waves) return text + ": blocks of one launch run in any order";
  return text +
         (race.fence_missing ? ": the writer did not call fence_async_shared()" : ", and no barrier orders the two");
}

}  // namespace

Place Place::of_code(const void* program_counter) {
  Place place;
  place.value_ = reinterpret_cast<uint64_t>(program_counter) << 1;
  return place;
}

Place Place::of_site(const Site& site) {
  static Site last;
  static Place last_place;
  if (last.line == site.line && last.file == site.file && last.word == site.word) return last_place;
  const auto [entry, added] = site_numbers.try_emplace({site.file, site.line, site.word}, sites.size());
  if (added) sites.push_back(site);
  last = site;
  last_place.value_ = uint64_t{entry->second} << 1 | 1;
  return last_place;
}

const Site& Place::site() const { return sites[value_ >> 1]; }

void report(const Race& race) {
  ++races_seen;
  for (const Race& known : races)
    if (known.first == race.first && known.second == race.second) return;
  if (races.size() < MAX_SHOWN) races.push_back(race);
}

std::string take_report() {
  std::string text;
  for (const Race& race : races) text += (text.empty() ? "" : "; ") + describe(race);
  if (races_seen > races.size() && !races.empty())
    text += " (" + std::to_string(races_seen) +
            (engine.blocks.size() == 1 ? " racing accesses in this block)" : " racing accesses)");
  races.clear();
  races_seen = 0;
  return text;
}

void end_wave() {
  if (races.empty()) return;
  const Place place = races.front().second;
  const std::string line = place.is_code() ? source_line(place.program_counter()) : std::string();
  const Site site =
      place.is_code() ? Site{"", 0, line.c_str()} : Site{place.site().file, place.site().line, "data race"};
  fail(site, "%s%s", place.is_code() ? "data race: " : "", take_report().c_str());
}

}  // namespace gpudl::emulator::race
