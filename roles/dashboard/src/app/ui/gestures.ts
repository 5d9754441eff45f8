// Mouse and touch on a chart: drag moves it, the wheel and two fingers zoom, a double click goes back to
// now. A finger that moves up or down still scrolls the page.

export interface Gestures {
  pan(part: number): void;
  zoom(factor: number, about: number): void;
  reset(): void;
  area(): DOMRect;
}

/** Listens on the element, and returns what ends that. */
export function gestures(box: HTMLElement, on: Gestures): () => void {
  const pointers = new Map<number, number>(); // x by pointer
  const end = new AbortController();
  const options = { signal: end.signal };
  const about = (x: number) => {
    const r = on.area();
    return Math.min(1, Math.max(0, (x - r.left) / (r.width || 1)));
  };
  box.addEventListener('wheel', (e) => {
    e.preventDefault();
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) on.pan((e.deltaX || e.deltaY) / (on.area().width || 1));
    else on.zoom(1.0015 ** e.deltaY, about(e.clientX));
  }, { ...options, passive: false });
  box.addEventListener('pointerdown', (e) => {
    if (e.button !== 0) return;
    pointers.set(e.pointerId, e.clientX);
    box.setPointerCapture(e.pointerId);
  }, options);
  box.addEventListener('pointermove', (e) => {
    const last = pointers.get(e.pointerId);
    if (last === undefined) return;
    const width = on.area().width || 1;
    if (pointers.size === 1) {
      if (e.clientX !== last) on.pan((last - e.clientX) / width);
    } else {
      const [other] = [...pointers].filter(([id]) => id !== e.pointerId).map(([, x]) => x);
      const before = Math.abs(last - other!);
      const after = Math.abs(e.clientX - other!);
      if (before > 20 && after > 20) on.zoom(before / after, about((e.clientX + other!) / 2));
    }
    pointers.set(e.pointerId, e.clientX);
  }, options);
  const up = (e: PointerEvent) => pointers.delete(e.pointerId);
  box.addEventListener('pointerup', up, options);
  box.addEventListener('pointercancel', up, options);
  box.addEventListener('dblclick', () => on.reset(), options);
  return () => end.abort();
}
