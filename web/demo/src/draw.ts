// The canvas to draw a digit on, and what the network sees of it: 28 x 28, ink 255 on 0, the longer
// side 20 pixels, centred by weight, as in the data that the digit model was trained on.
import { $, canvas2d, contextOf, cssColor, onColorScheme } from "./dom";

export const side = 28;
const box = 20;
/** Width of a stroke in the network's pixels. */
const pen = 2.4;

type Point = readonly [x: number, y: number];
type Stroke = Point[];

/** What is there before anybody has drawn: a three, in canvas pixels. */
const first: Stroke[] = [
  [...arc(136, 96, 46, 42, -2.7, 1.35), ...arc(134, 184, 54, 48, -1.45, 2.75)],
];

function arc(x: number, y: number, rx: number, ry: number, from: number, to: number): Point[] {
  return Array.from({ length: 17 }, (_, i) => {
    const angle = from + ((to - from) * i) / 16;
    return [x + rx * Math.cos(angle), y + ry * Math.sin(angle)];
  });
}

const small = canvas2d(side, side);

function trace(context: CanvasRenderingContext2D, strokes: readonly Stroke[]) {
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]!);
    for (const point of stroke) context.lineTo(...point);
    // A tap is a dot.
    if (stroke.length === 1) context.lineTo(stroke[0]![0] + 0.01, stroke[0]![1]);
    context.stroke();
  }
}

/** The strokes with this point in the middle of the small canvas, as ink from 0 to 255. */
function render(strokes: readonly Stroke[], scale: number, [x, y]: Point): Uint8Array {
  const { context } = small;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, side, side);
  context.setTransform(scale, 0, 0, scale, side / 2 - x * scale, side / 2 - y * scale);
  context.lineWidth = pen / scale;
  trace(context, strokes);
  const rgba = context.getImageData(0, 0, side, side).data;
  return Uint8Array.from({ length: side * side }, (_, i) => rgba[4 * i + 3]!);
}

function rasterize(strokes: readonly Stroke[]): Uint8Array {
  const points = strokes.flat();
  if (points.length === 0) return new Uint8Array(side * side);
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const scale = (box - pen) / Math.max(right - left, bottom - top, 20);
  const middle: Point = [(left + right) / 2, (top + bottom) / 2];
  const ink = render(strokes, scale, middle);
  let [mass, sumX, sumY] = [0, 0, 0];
  ink.forEach((value, i) => {
    mass += value;
    sumX += value * ((i % side) + 0.5);
    sumY += value * (Math.floor(i / side) + 0.5);
  });
  if (mass === 0) return ink;
  const shift = (sum: number, at: number) => at + (sum / mass - side / 2) / scale;
  return render(strokes, scale, [shift(sumX, middle[0]), shift(sumY, middle[1])]);
}

/** Calls back with the ink after each change. `digit`: an image of one, for keys and the button. */
export function setUpDrawing(
  onInk: (ink: Uint8Array) => void,
  digit: (of?: number) => Uint8Array | undefined,
) {
  const canvas = $<HTMLCanvasElement>("draw");
  const context = contextOf(canvas);
  let strokes: Stroke[] = first;
  let placed: Uint8Array | undefined;
  let drawing = false;

  function paint() {
    const color = cssColor("--ink");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (placed) {
      const image = new ImageData(side, side);
      const [r, g, b] = rgb(color);
      placed.forEach((value, i) => image.data.set([r, g, b, value], 4 * i));
      small.context.putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small.canvas, 0, 0, canvas.width, canvas.height);
    } else {
      context.lineWidth = 20;
      context.strokeStyle = color;
      trace(context, strokes);
    }
  }
  const ink = () => placed ?? rasterize(strokes);
  function changed() {
    paint();
    onInk(ink());
  }
  const at = (event: PointerEvent): Point => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [
      ((event.clientX - left) / width) * canvas.width,
      ((event.clientY - top) / height) * canvas.height,
    ];
  };
  const place = (of?: number) => {
    placed = digit(of) ?? placed;
    changed();
  };
  const clear = () => {
    strokes = [];
    placed = undefined;
    changed();
  };

  let fresh = true;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    // What the page or a key has put there makes room for what is drawn.
    if (placed || fresh) strokes = [];
    fresh = false;
    placed = undefined;
    drawing = true;
    strokes = [...strokes, [at(event)]];
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    const events = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1)!.push(...(events.length > 0 ? events : [event]).map(at));
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (drawing = false));
  }
  canvas.addEventListener("keydown", (event) => {
    if (/^\d$/.test(event.key)) place(Number(event.key));
    else if (event.key === "Delete" || event.key === "Backspace") clear();
    else return;
    event.preventDefault();
  });
  onColorScheme(paint);
  paint();
  return { clear, place, ink };
}

/** A colour's bytes, whatever its notation. */
function rgb(color: string): [number, number, number] {
  const { context } = canvas2d(1, 1);
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return [r!, g!, b!];
}
