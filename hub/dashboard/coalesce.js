// Many wishes, little work: what bursts of events ask for is done at most once in a while, and never twice at a time.

/**
 * Returns a function that has `work` done soon: at once if it has rested for `pauseMs`, else as soon as it has. A wish that
 * comes while it runs has it run once more. Slow work rests as long as it took, so that a busy hub is not asked harder.
 */
export function coalesced(work, pauseMs) {
  let running = false;
  let again = false;
  let timer = null;
  let restedAt = 0;
  const run = async () => {
    timer = null;
    running = true;
    again = false;
    const began = performance.now();
    try {
      await work();
    } finally {
      running = false;
      const now = performance.now();
      restedAt = now + Math.max(pauseMs, now - began);
      if (again) wish();
    }
  };
  const wish = () => {
    if (running) again = true;
    else timer ??= setTimeout(run, Math.max(0, restedAt - performance.now()));
  };
  return wish;
}

/** Returns a function that has `work` done before the next frame is painted, once however often it was called. */
export function beforeFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
