// A radiograph on a canvas: moved, zoomed, and seen through a window of its grey levels.

export class Viewer {
  constructor(canvas, controls) {
    this.canvas = canvas;
    this.controls = controls; // zoom, level, width, invert: elements
    this.source = document.createElement('canvas'); // the picture through the window
    this.pointers = new Map();
    this.reset();
    new ResizeObserver(() => this.fitted ? this.fit() : this.paint()).observe(canvas);
    canvas.addEventListener('pointerdown', event => this.press(event));
    canvas.addEventListener('pointermove', event => this.move(event));
    for (const end of ['pointerup', 'pointercancel']) {
      canvas.addEventListener(end, event => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener('wheel', event => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? .05 : .0015)), ...this.place(event));
    }, { passive: false });
    canvas.addEventListener('dblclick', event => this.fitted ? this.zoomBy(2, ...this.place(event)) : this.fit());
    canvas.addEventListener('keydown', event => this.key(event));
    for (const name of ['level', 'width']) {
      controls[name].addEventListener('input', () => this.look(name, Number(controls[name].value)));
    }
    controls.invert.addEventListener('click', () => this.look('inverted', !this.inverted));
  }

  reset() {
    Object.assign(this, { pixels: null, scale: 1, x: 0, y: 0, fitted: true, level: 128, width: 256, inverted: false });
  }

  // Shows an image (a bitmap, which is read and closed), or nothing.
  show(bitmap) {
    this.reset();
    if (bitmap) {
      this.source.width = bitmap.width;
      this.source.height = bitmap.height;
      const context = this.source.getContext('2d', { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      bitmap.close();
      this.pixels = context.getImageData(0, 0, this.source.width, this.source.height);
      this.grey = new Uint8Array(this.pixels.data.length / 4);
      for (let i = 0; i < this.grey.length; i++) this.grey[i] = this.pixels.data[4 * i];
    }
    this.window();
    this.fit();
  }

  // Lays a map of the square over the picture that lies in its middle (a bitmap, or nothing).
  overlay(bitmap) {
    this.heat?.close();
    this.heat = bitmap;
    this.paint();
  }

  look(name, value) {
    const limits = { level: [0, 255], width: [4, 510] }[name];
    this[name] = limits ? Math.min(limits[1], Math.max(limits[0], value)) : value;
    this.window();
    this.paint();
  }

  window() {
    this.controls.level.value = this.level;
    this.controls.width.value = this.width;
    this.controls.invert.setAttribute('aria-pressed', this.inverted);
    if (!this.pixels) return;
    const low = this.level - this.width / 2, words = new Uint32Array(this.pixels.data.buffer);
    const table = Uint32Array.from({ length: 256 }, (_, value) => {
      const share = Math.min(1, Math.max(0, (value - low) / this.width));
      return 0xff000000 + 0x010101 * Math.round(255 * (this.inverted ? 1 - share : share));
    });
    for (let i = 0; i < words.length; i++) words[i] = table[this.grey[i]];
    this.source.getContext('2d').putImageData(this.pixels, 0, 0);
  }

  get size() { return [this.canvas.clientWidth, this.canvas.clientHeight]; }

  fit() {
    const [width, height] = this.size;
    this.scale = Math.min(width / this.source.width, height / this.source.height) || 1;
    this.x = (width - this.scale * this.source.width) / 2;
    this.y = (height - this.scale * this.source.height) / 2;
    this.fitted = true;
    this.paint();
  }

  zoomBy(factor, x = this.size[0] / 2, y = this.size[1] / 2) {
    const scale = Math.min(40, Math.max(.05, this.scale * factor));
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.paint();
  }

  panBy(x, y) {
    this.x += x;
    this.y += y;
    this.fitted = false;
    this.paint();
  }

  // Once a frame, however often it is asked for.
  paint() {
    this.asked ??= requestAnimationFrame(() => {
      this.asked = null;
      const [width, height] = this.size, ratio = devicePixelRatio;
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.controls.zoom.value = Math.round(100 * this.scale) + ' %';
      if (!this.pixels) return;
      const context = this.canvas.getContext('2d');
      context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x, ratio * this.y);
      context.imageSmoothingEnabled = this.scale < 6;
      context.imageSmoothingQuality = 'high';
      context.drawImage(this.source, 0, 0);
      if (!this.heat) return;
      const { width: w, height: h } = this.source, side = Math.max(w, h);
      context.beginPath();
      context.rect(0, 0, w, h);
      context.clip();
      context.imageSmoothingEnabled = true;
      context.drawImage(this.heat, (w - side) / 2, (h - side) / 2, side, side);
    });
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
  }

  move(event) {
    const before = this.pointers.get(event.pointerId), now = this.place(event);
    if (!before) return;
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    this.pointers.set(event.pointerId, now);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const far = at => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
      this.panBy(dx / 2, dy / 2);
      this.zoomBy(far(now) / far(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (event.shiftKey || event.buttons === 2) {
      this.look('width', this.width + dx);
      this.look('level', this.level + dy);
    } else {
      this.panBy(dx, dy);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 40, action = {
      ArrowLeft: () => this.panBy(step, 0), ArrowRight: () => this.panBy(-step, 0),
      ArrowUp: () => this.panBy(0, step), ArrowDown: () => this.panBy(0, -step),
      '+': () => this.zoomBy(1.25), '=': () => this.zoomBy(1.25), '-': () => this.zoomBy(.8), 0: () => this.fit(),
      '[': () => this.look('level', this.level - 8), ']': () => this.look('level', this.level + 8),
      ';': () => this.look('width', this.width - 16), "'": () => this.look('width', this.width + 16),
      i: () => this.look('inverted', !this.inverted),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
