#include <algorithm>
#include <cmath>

#include "core/report/report.h"
#include "core/report/svg.h"

namespace octavo {
namespace {

using namespace report;

// Colours of the light and the dark page; everything else refers to them.
constexpr const char* kStyle = R"css(
:root{--ink:#1c2430;--soft:#667085;--line:#e3e7ee;--paper:#fff;--card:#f7f8fb;--float:#3b76c4;
--quant:#e07b1a;--bad:#cf3341;--good:#2a8f5a}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf3;--soft:#98a3b5;--line:#2f3744;--paper:#14181f;
--card:#1c222c;--float:#6fa6ee;--quant:#f2a04d;--bad:#f0707c;--good:#5cc48d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:32px 24px 64px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}
h2{font-size:19px;margin:44px 0 6px;padding-top:16px;border-top:1px solid var(--line)}
p{margin:4px 0 14px;color:var(--soft);max-width:76ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0 0}
.tile{background:var(--card);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:20px;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:14px}
.card{background:var(--card);border-radius:10px;padding:12px 14px;overflow:hidden}
.card h3{font-size:13px;margin:0;overflow-wrap:anywhere}
.card small{color:var(--soft);font-size:12px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}
svg .name{fill:var(--ink)}
.axis{stroke:var(--line);stroke-width:1}
.f{fill:var(--float)}.q{fill:var(--quant)}.fa{fill:var(--float);fill-opacity:.28}
.ql{fill:none;stroke:var(--quant);stroke-width:1.4}
.worst{fill:var(--bad)}.good{fill:var(--good)}.dim{fill:var(--soft);fill-opacity:.5}
.cut{stroke:var(--bad);stroke-width:1.4;stroke-dasharray:4 3}.out{fill:var(--bad);fill-opacity:.12}
.pareto{fill:none;stroke:var(--good);stroke-width:1.6}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap}
td.t{overflow-wrap:anywhere;min-width:12ch}
.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 14px}
.key i:first-child{margin-left:0}
summary{cursor:pointer;color:var(--soft);margin:14px 0}
)css";

constexpr double kTopDb = 60;      // longer bars tell nothing more
constexpr size_t kOpenCards = 12;  // histograms shown at once
constexpr size_t kWorstOps = 5;    // marked in the chart
constexpr size_t kOpenOps = 20;    // in the ranking

std::string tile(std::string_view value, std::string_view label) {
  return concat("<div class=\"tile\"><b>", escape(value), "</b><span>", escape(label),
                "</span></div>");
}

std::string optional_db(const std::optional<double>& db) {
  return db ? number_text(*db, 1) : std::string("–");
}

std::string tiles(const Report& report) {
  const Diagnosis& d = report.diagnosis;
  std::string out = "<div class=\"tiles\">";
  if (!d.outputs.empty()) {
    out += tile(concat(number_text(d.outputs[0].sqnr_db, 1), " dB"), "output SQNR");
  }
  out += tile(percent_text(d.agreement), concat("same best class (", d.samples, " samples)"));
  const auto quantized = std::ranges::count_if(d.ops, &OpDiagnosis::quantized);
  out += tile(concat(quantized, " of ", d.ops.size()), "operators quantized");
  out += tile(
      concat(percent_text(static_cast<double>(d.quantized_bytes) /
                              static_cast<double>(std::max<int64_t>(d.float_bytes, 1)),
                          1)),
      concat("of the size: ", bytes_text(d.float_bytes), " → ", bytes_text(d.quantized_bytes)));
  return out + "</div>";
}

std::string sources_section(const ErrorSources& sources) {
  Drawing draw(1060, 92, "SQNR of the output by what is quantized");
  const double left = 170, width = 780;
  int row = 0;
  const auto bar = [&](const char* name, double db, const char* css) {
    const double y = 8 + 28 * row++;
    draw.text(left - 10, y + 14, name, "end", "name");
    draw.rect(left, y, width * std::clamp(db / kTopDb, 0.0, 1.0), 20, css);
    draw.text(left + width * std::clamp(db / kTopDb, 0.0, 1.0) + 8, y + 14,
              concat(number_text(db, 1), " dB"));
  };
  bar("weights only", sources.weights_sqnr_db, "f");
  bar("activations only", sources.activations_sqnr_db, "q");
  bar("both", sources.both_sqnr_db, "dim");
  return concat(
      "<h2>Weights or activations</h2><p>SQNR of the first output in dB, on up to ", kSourceSamples,
      " samples; more is better. ",
      sources.weights_sqnr_db < sources.activations_sqnr_db
          ? "Quantizing the weights costs more: finer granularity (per channel), rounding "
            "search or more bits for the weights help."
          : "Quantizing the activations costs more: another range algorithm, asymmetric "
            "activations, equalization or smoothing help.",
      "</p>", std::move(draw).finish());
}

std::string hint_section(const std::string& hint) {
  return hint.empty() ? "" : concat("<p class=\"hint\">", escape(hint), "</p>");
}

// What each operator alone costs the output, the worst first.
std::string sensitivity_section(std::span<const OpSensitivity> ops) {
  if (ops.empty()) return "";
  const double best = std::max(ops.back().sqnr_db, 1.0);
  const double left = 330, width = 500, row = 19, columns[] = {890, 960, 1040};
  const size_t shown = std::min(ops.size(), kOpenOps);
  const auto chart = [&](std::span<const OpSensitivity> part) {
    const double bottom = 24 + row * static_cast<double>(part.size());
    Drawing draw(1060, bottom + 10, "Sensitivity of every operator");
    for (const double db : ticks(0, best, 5)) {
      const double x = left + width * db / best;
      draw.line(x, 20, x, bottom, "axis");
      draw.text(x, 12, concat(number_text(db, 0), " dB"), "middle");
    }
    const char* const titles[] = {"alone", "weights", "activations"};
    for (size_t c = 0; c < std::size(columns); ++c) draw.text(columns[c], 12, titles[c], "end");
    for (size_t i = 0; i < part.size(); ++i) {
      const OpSensitivity& op = part[i];
      const double y = 24 + row * static_cast<double>(i);
      draw.text(left - 10, y + 11, concat(shorten(op.node, 40), "  ", op.op), "end", "name");
      draw.rect(left, y + 3, width * std::clamp(op.sqnr_db / best, 0.0, 1.0), 9,
                static_cast<size_t>(&op - ops.data()) < kWorstOps ? "worst" : "f",
                concat(op.node, " (", op.op, ")"));
      const double values[] = {op.sqnr_db, op.weights_sqnr_db, op.activations_sqnr_db};
      for (size_t c = 0; c < std::size(columns); ++c) {
        draw.text(columns[c], y + 12, number_text(values[c], 1), "end");
      }
    }
    return concat("<div class=\"scroll\">", std::move(draw).finish(), "</div>");
  };
  std::string out = concat(
      "<h2>Sensitivity</h2><p>SQNR of the first output, in dB, when only this operator is "
      "quantized "
      "and everything else is float, on ",
      kSensitivitySamples, " samples, of the ", ops.size(),
      " operators that add most error by themselves; the most sensitive first. Beside it the same "
      "with quantized weights only, and "
      "what "
      "quantizing the activations adds to that. Falling back to float helps most at the top.</p>",
      chart(ops.first(shown)));
  if (shown < ops.size()) {
    out += concat("<details><summary>", ops.size() - shown, " more operators</summary>",
                  chart(ops.subspan(shown)), "</details>");
  }
  return out;
}

// Bars of each operator's own error and of the error that has built up at its output.
std::string op_section(const Diagnosis& d) {
  std::vector<const OpDiagnosis*> ops;
  for (const OpDiagnosis& op : d.ops) {
    if (op.sqnr_db || op.own_sqnr_db) ops.push_back(&op);
  }
  if (ops.empty()) return "";
  std::vector<double> own;
  for (const OpDiagnosis* op : ops) {
    if (op->own_sqnr_db) own.push_back(*op->own_sqnr_db);
  }
  std::ranges::sort(own);
  const double worst = own.empty() ? -1 : own[std::min(kWorstOps, own.size()) - 1];
  const double left = 330, width = 640, row = 19;
  Drawing draw(1060, 34 + row * static_cast<double>(ops.size()), "SQNR of every operator");
  for (const double db : ticks(0, kTopDb, 6)) {
    const double x = left + width * db / kTopDb;
    draw.line(x, 20, x, 24 + row * static_cast<double>(ops.size()), "axis");
    draw.text(x, 12, concat(number_text(db, 0), " dB"), "middle");
  }
  for (size_t i = 0; i < ops.size(); ++i) {
    const OpDiagnosis& op = *ops[i];
    const double y = 24 + row * static_cast<double>(i);
    const std::string hint =
        concat(op.node, " (", op.op, "): own error ", optional_db(op.own_sqnr_db),
               " dB, in the whole run ", optional_db(op.sqnr_db), " dB");
    const auto length = [&](double db) { return width * std::clamp(db / kTopDb, 0.0, 1.0); };
    draw.text(left - 10, y + 11, concat(shorten(op.node, 40), "  ", op.op), "end", "name");
    if (op.own_sqnr_db) {
      draw.rect(left, y + 1, length(*op.own_sqnr_db), 7, *op.own_sqnr_db <= worst ? "worst" : "f",
                hint);
    }
    if (op.sqnr_db) draw.rect(left, y + 9, length(*op.sqnr_db), 6, "q", hint);
    draw.text(left + width + 10, y + 12,
              concat(optional_db(op.own_sqnr_db), " / ", optional_db(op.sqnr_db)));
  }
  return concat(
      "<h2>Operators</h2><p>Short bars are large errors. The upper bar is the error that the "
      "operator adds by itself, with the float model's inputs; the lower one what has built up at "
      "its output. The ",
      std::min(kWorstOps, own.size()),
      " operators that lose most are red: leaving those float, or quantizing them finer, helps "
      "first.</p><p class=\"key\"><i style=\"background:var(--float)\"></i>own error<i "
      "style=\"background:var(--bad)\"></i>the largest of these<i "
      "style=\"background:var(--quant)\"></i>in the whole run</p><div class=\"scroll\">",
      std::move(draw).finish(), "</div>");
}

std::string histogram(const TensorDiagnosis& tensor) {
  constexpr double kWidth = 300, kHeight = 110, kBase = 92;
  const Distribution& d = tensor.distribution;
  // The thresholds are shown too where they lie outside the values.
  double low = d.min, high = d.max;
  if (tensor.scale > 0) {
    low = std::min(low, tensor.low);
    high = std::max(high, tensor.high);
  }
  if (!(high > low)) high = low + 1;
  const double pad = 0.02 * (high - low);
  low -= pad;
  high += pad;
  const auto x = [&](double value) { return kWidth * (value - low) / (high - low); };
  int64_t largest = 1;
  for (const int64_t count : d.a) largest = std::max(largest, count);
  for (const int64_t count : d.b) largest = std::max(largest, count);
  const auto y = [&](int64_t count) {
    return kBase - (kBase - 6) * std::log1p(static_cast<double>(count)) /
                       std::log1p(static_cast<double>(largest));
  };
  const double step = (d.max - d.min) / static_cast<double>(std::max<size_t>(d.a.size(), 1));
  std::vector<double> of_float = {x(d.min), kBase}, of_quantized;
  for (size_t i = 0; i < d.a.size(); ++i) {
    const double from = x(d.min + step * static_cast<double>(i));
    const double to = x(d.min + step * static_cast<double>(i + 1));
    for (const double at : {from, to}) {
      of_float.insert(of_float.end(), {at, y(d.a[i])});
      of_quantized.insert(of_quantized.end(), {at, y(d.b[i])});
    }
  }
  of_float.insert(of_float.end(), {x(d.max), kBase});
  Drawing draw(kWidth, kHeight, concat("Distribution of ", tensor.tensor));
  draw.polygon(of_float, "fa");
  draw.polyline(of_quantized, "ql");
  draw.line(0, kBase, kWidth, kBase, "axis");
  if (tensor.scale > 0) {
    draw.rect(0, 0, x(tensor.low), kBase, "out");
    draw.rect(x(tensor.high), 0, kWidth - x(tensor.high), kBase, "out");
    draw.line(x(tensor.low), 0, x(tensor.low), kBase, "cut");
    draw.line(x(tensor.high), 0, x(tensor.high), kBase, "cut");
  }
  draw.text(0, kHeight - 4, short_number_text(d.min));
  draw.text(kWidth, kHeight - 4, short_number_text(d.max), "end");
  std::string facts =
      concat(number_text(tensor.sqnr_db, 1), " dB · KL ", short_number_text(tensor.kl));
  if (tensor.scale > 0) {
    facts += concat(" · ", tensor.dtype, " ", short_number_text(tensor.low), " to ",
                    short_number_text(tensor.high));
    if (tensor.clipped > 0) facts += concat(" · ", percent_text(tensor.clipped, 3), " cut off");
  } else {
    facts += concat(" · ", tensor.dtype);
  }
  return concat("<div class=\"card\"><h3>", escape(shorten(tensor.tensor, 60)), "</h3><small>",
                escape(tensor.node_op), " · ", facts, "</small>", std::move(draw).finish(),
                "</div>");
}

std::string histogram_section(const Diagnosis& d) {
  if (d.tensors.empty()) return "";
  std::vector<const TensorDiagnosis*> tensors;
  for (const TensorDiagnosis& tensor : d.tensors) tensors.push_back(&tensor);
  std::ranges::stable_sort(tensors, {}, &TensorDiagnosis::sqnr_db);
  std::string out =
      "<h2>Distributions</h2><p>What each tensor takes in both models, the worst first; counts on "
      "a "
      "logarithmic scale. Dashed lines are the thresholds: values beyond them are cut off.</p>"
      "<p class=\"key\"><i style=\"background:var(--float)\"></i>float<i "
      "style=\"background:var(--quant)\"></i>quantized<i style=\"background:var(--bad)\"></i>"
      "threshold</p><div class=\"grid\">";
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i == kOpenCards) {
      out += concat("</div><details><summary>", tensors.size() - kOpenCards,
                    " more tensors</summary><div class=\"grid\">");
    }
    out += histogram(*tensors[i]);
  }
  return out + (tensors.size() > kOpenCards ? "</div></details>" : "</div>");
}

std::string op_table(const Diagnosis& d) {
  std::string out =
      "<h2>Every operator</h2><div class=\"scroll\"><table><tr><th>node</th><th>op</th>"
      "<th>weights</th><th>activations</th><th class=\"n\">own dB</th><th class=\"n\">run dB</th>"
      "<th class=\"n\">weights dB</th></tr>";
  for (const OpDiagnosis& op : d.ops) {
    out += concat("<tr><td class=\"t\">", escape(op.node), "</td><td>", escape(op.op), "</td><td>",
                  escape(op.weights), "</td><td>",
                  op.quantized ? escape(op.activations) : std::string("float"),
                  "</td><td class=\"n\">", optional_db(op.own_sqnr_db), "</td><td class=\"n\">",
                  optional_db(op.sqnr_db), "</td><td class=\"n\">", optional_db(op.weight_sqnr_db),
                  "</td></tr>");
  }
  return out + "</table></div>";
}

// Accuracy over latency (or size, where nobody timed), with the front of those that none beats.
std::string pareto_chart(const TuningResult& tuning) {
  std::vector<const TrialRecord*> records = {&tuning.baseline};
  for (const TrialRecord& trial : tuning.trials) {
    if (trial.ok()) records.push_back(&trial);
  }
  const bool timed =
      std::ranges::all_of(records, [](const TrialRecord* r) { return r->latency_ms.has_value(); });
  const auto cost = [&](const TrialRecord& r) {
    return timed ? *r.latency_ms : static_cast<double>(r.size_bytes) / 1e6;
  };
  double low = records[0]->accuracy, high = low, most = 0;
  for (const TrialRecord* r : records) {
    low = std::min(low, r->accuracy);
    high = std::max(high, r->accuracy);
    most = std::max(most, cost(*r));
  }
  const double margin = high > low ? 0.08 * (high - low) : 0.01;
  low -= margin;
  high += margin;
  most = most > 0 ? most * 1.08 : 1;
  constexpr double kLeft = 60, kRight = 1040, kTop = 12, kBottom = 270;
  const auto x = [&](const TrialRecord& r) { return kLeft + (kRight - kLeft) * cost(r) / most; };
  const auto y = [&](double accuracy) {
    return kBottom - (kBottom - kTop) * (accuracy - low) / (high - low);
  };
  Drawing draw(1060, 310, "Accuracy of every trial over its cost");
  for (const double t : ticks(low, high, 5)) {
    draw.line(kLeft, y(t), kRight, y(t), "axis");
    draw.text(kLeft - 8, y(t) + 4, short_number_text(t), "end");
  }
  for (const double t : ticks(0, most, 8)) {
    draw.text(kLeft + (kRight - kLeft) * t / most, kBottom + 16, short_number_text(t), "middle");
  }
  draw.text(kRight, kBottom + 34, timed ? "ms a run" : "MB", "end");
  std::vector<const TrialRecord*> front;
  for (const TrialRecord* r : records) {
    if (std::ranges::contains(tuning.pareto, r->index)) front.push_back(r);
  }
  std::ranges::sort(front, {}, [&](const TrialRecord* r) { return cost(*r); });
  std::vector<double> points;
  for (const TrialRecord* r : front) points.insert(points.end(), {x(*r), y(r->accuracy)});
  draw.polyline(points, "pareto");
  for (const TrialRecord* r : records) {
    draw.circle(
        x(*r), y(r->accuracy), r->index == tuning.best || r->index == 0 ? 7 : 4.5,
        r->index == 0 ? "f"
        : r->holds    ? "good"
                      : "worst",
        concat(r->index == 0 ? std::string("float model") : concat("trial ", r->index), " (",
               r->description, "): accuracy ", short_number_text(r->accuracy), ", ",
               short_number_text(cost(*r)), timed ? " ms, " : " MB, ", bytes_text(r->size_bytes)));
    if (r->index == tuning.best || r->index == 0) {
      draw.text(x(*r) + 11, y(r->accuracy) + 4, r->index == 0 ? "float" : "best", "start", "name");
    }
  }
  return concat(
      "<p class=\"key\"><i style=\"background:var(--float)\"></i>float model<i "
      "style=\"background:var(--good)\"></i>holds the accuracy<i "
      "style=\"background:var(--bad)\"></i>does not; the line joins what nothing beats"
      "</p><div class=\"scroll\">",
      std::move(draw).finish(), "</div>");
}

std::string tuning_section(const TuningResult& tuning) {
  std::string out = concat("<h2>Trials</h2><p>", escape(tuning.decision),
                           " Over: ", escape(tuning.stopped), ".</p>", pareto_chart(tuning),
                           "<div class=\"scroll\"><table><tr><th class=\"n\">trial</th>"
                           "<th>what</th><th class=\"n\">accuracy</th><th class=\"n\">loss</th>"
                           "<th class=\"n\">size</th><th class=\"n\">ms</th><th class=\"n\">"
                           "seconds</th><th></th></tr>");
  const auto row = [&](const TrialRecord& r) {
    out += concat("<tr><td class=\"n\">", r.index == 0 ? "float" : std::to_string(r.index),
                  "</td><td class=\"t\">", escape(r.phase), ": ",
                  escape(r.ok() ? r.description : concat(r.description, ": ", r.error)),
                  "</td><td class=\"n\">", r.ok() ? number_text(r.accuracy, 4) : "–",
                  "</td><td class=\"n\">", r.ok() ? number_text(r.loss, 4) : "–",
                  "</td><td class=\"n\">", r.size_bytes > 0 ? bytes_text(r.size_bytes) : "–",
                  "</td><td class=\"n\">", r.latency_ms ? number_text(*r.latency_ms, 2) : "–",
                  "</td><td class=\"n\">", number_text(r.quantize_s + r.evaluate_s, 1), "</td><td>",
                  r.index == tuning.best ? "best " : "", r.holds ? "holds " : "",
                  std::ranges::contains(tuning.pareto, r.index) ? "pareto" : "", "</td></tr>");
  };
  row(tuning.baseline);
  for (const TrialRecord& trial : tuning.trials) row(trial);
  return out + "</table></div>";
}

}  // namespace

std::string report_html(const Report& report) {
  std::string out = concat(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      escape(report.quantized_model), " – quantization report</title><style>", kStyle,
      "</style></head><body><h1>", escape(report.quantized_model), "</h1><p>compared with ",
      escape(report.float_model), report.data.empty() ? "" : concat(" on ", escape(report.data)),
      "</p>");
  out += tiles(report);
  if (report.tuning) out += tuning_section(*report.tuning);
  out += hint_section(report.hint);
  if (report.sources) out += sources_section(*report.sources);
  out += sensitivity_section(report.sensitivity);
  out += op_section(report.diagnosis);
  out += histogram_section(report.diagnosis);
  out += op_table(report.diagnosis);
  return out + "</body></html>\n";
}

}  // namespace octavo
