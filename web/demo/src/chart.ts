// Charts in the page's colours: histograms with thresholds, and trials by latency and accuracy.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { TensorDiagnosis } from "octavo";
import { cssColor, onColorScheme } from "./dom";
import { ms, percent } from "./format";

interface Drawn {
  place: HTMLElement;
  draw: () => uPlot;
  plot: uPlot;
}
const drawn = new Map<HTMLElement, Drawn>();

/** Draws anew where there was a chart, and whenever the place or the colours change. */
function show(place: HTMLElement, make: (width: number) => uPlot) {
  drawn.get(place)?.plot.destroy();
  const draw = () => make(place.clientWidth || 300);
  drawn.set(place, { place, draw, plot: draw() });
  watcher.observe(place);
}

const redraw = (entry: Drawn) => {
  entry.plot.destroy();
  entry.plot = entry.draw();
};
const watcher = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const entry = drawn.get(target as HTMLElement);
    const width = target.clientWidth;
    if (entry && width > 0 && Math.abs(entry.plot.width - width) > 1) {
      entry.plot.setSize({ width, height: entry.plot.height });
    }
  }
});
onColorScheme(() => drawn.forEach(redraw));

const font = '12px system-ui, "Segoe UI", sans-serif';
const axis = (options: uPlot.Axis): uPlot.Axis => ({
  stroke: cssColor("--soft"),
  font,
  labelFont: font,
  labelSize: 20,
  grid: { stroke: cssColor("--line"), width: 1 },
  ticks: { show: false },
  ...options,
});

const withAlpha = (color: string, alpha: number) =>
  `color-mix(in srgb, ${color} ${Math.round(alpha * 100)}%, transparent)`;

/** Counts of a tensor's values in both models, and the range that its integers reach. */
export function histogram(place: HTMLElement, { histogram, low, high }: TensorDiagnosis) {
  const { min, max, float, quantized } = histogram;
  const width = (max - min) / Math.max(1, float.length);
  const xs = float.map((_, i) => min + (i + 0.5) * width);
  // Roots: a few values far out are what clipping is about, and must be seen beside thousands.
  const heights = (counts: readonly number[]) => counts.map(Math.sqrt);
  // One is an area, the other a line, so that both are seen where they coincide.
  const series = (options: uPlot.Series): uPlot.Series => ({
    points: { show: false },
    paths: uPlot.paths.stepped!({ align: 0 } as never),
    ...options,
  });
  const area = series({ fill: withAlpha(cssColor("--float"), 0.45), width: 0 });
  const outline = series({ stroke: cssColor("--int8"), width: 1.5 });
  const thresholds = (plot: uPlot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = cssColor("--bad");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const value of [low, high]) {
      if (value === undefined) continue;
      const x = plot.valToPos(value, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
  const ends = [min, max, low ?? min, high ?? max];
  const margin = (Math.max(...ends) - Math.min(...ends)) * 0.02 || 1;
  const range: [number, number] = [Math.min(...ends) - margin, Math.max(...ends) + margin];
  show(
    place,
    (width) =>
      new uPlot(
        {
          width,
          height: 260,
          legend: { show: false },
          cursor: { show: false },
          scales: { x: { time: false, range }, y: { range: (_, __, top) => [0, top * 1.05 || 1] } },
          axes: [axis({ label: "value", size: 32 }), axis({ show: false })],
          series: [{}, area, outline],
          hooks: { draw: [thresholds] },
        },
        [xs, heights(float), heights(quantized)],
        place,
      ),
  );
}

interface TrialPoint {
  index: number;
  latencyMs: number;
  accuracy: number;
  /** Nothing is better in one thing without being worse in another. */
  front: boolean;
  best: boolean;
  holds: boolean;
}

/** Trials by latency and accuracy; the front that none beats is joined by a line. */
export function trialPlot(
  place: HTMLElement,
  points: readonly TrialPoint[],
  pick: (index: number) => void,
) {
  const sorted = points.toSorted((a, b) => a.latencyMs - b.latencyMs);
  const color = ({ index, best, holds }: TrialPoint) =>
    cssColor(index === 0 ? "--float" : best ? "--good" : holds ? "--int8" : "--soft");
  const dots = (plot: uPlot) => {
    const { ctx } = plot;
    const at = ({ latencyMs, accuracy }: TrialPoint) =>
      [plot.valToPos(latencyMs, "x", true), plot.valToPos(accuracy, "y", true)] as const;
    ctx.save();
    ctx.strokeStyle = withAlpha(cssColor("--int8"), 0.5);
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    for (const point of sorted.filter(({ front }) => front)) ctx.lineTo(...at(point));
    ctx.stroke();
    // The best one last: others may lie in the same place.
    for (const point of sorted.toSorted((a, b) => +a.best - +b.best)) {
      const radius = (point.best || point.index === 0 ? 6.5 : 5) * devicePixelRatio;
      ctx.beginPath();
      ctx.arc(...at(point), radius, 0, 2 * Math.PI);
      ctx.fillStyle = color(point);
      ctx.fill();
      ctx.strokeStyle = cssColor("--card");
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.stroke();
    }
    ctx.restore();
  };
  const spread = (values: number[], share: number, most = Infinity): [number, number] => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low) * share || Math.abs(high) * 0.05 || 1;
    return [low - margin, Math.min(high + margin, most)];
  };
  const ready = (plot: uPlot) => {
    plot.over.addEventListener("click", (event) => {
      const { left, top } = plot.over.getBoundingClientRect();
      const [x, y] = [event.clientX - left, event.clientY - top];
      const distance = (point: TrialPoint) =>
        Math.hypot(plot.valToPos(point.latencyMs, "x") - x, plot.valToPos(point.accuracy, "y") - y);
      const nearest = sorted.toSorted((a, b) => distance(a) - distance(b))[0];
      if (nearest && distance(nearest) < 30) pick(nearest.index);
    });
  };
  show(
    place,
    (width) =>
      new uPlot(
        {
          width,
          height: 280,
          legend: { show: false },
          cursor: { points: { show: false }, drag: { x: false, y: false } },
          scales: {
            x: {
              time: false,
              range: spread(
                sorted.map((p) => p.latencyMs),
                0.12,
              ),
            },
            y: {
              range: spread(
                sorted.map((p) => p.accuracy),
                0.15,
                1.002,
              ),
            },
          },
          axes: [
            axis({ label: "latency", size: 32, values: (_, ticks) => ticks.map(ms) }),
            axis({
              label: "accuracy",
              size: 64,
              values: (_, ticks) => ticks.map((v) => percent(v)),
            }),
          ],
          series: [{}, { paths: () => null, points: { show: false } }],
          hooks: { draw: [dots], ready: [ready] },
        },
        [sorted.map((p) => p.latencyMs), sorted.map((p) => p.accuracy)],
        place,
      ),
  );
}
