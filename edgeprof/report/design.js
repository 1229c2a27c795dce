// The design page of a law: sliders, its interval, a wanted speed, the Pareto front. Plain SVG, no dependencies.
// edgeprof/report/design.py writes the HTML that this fills; edgeprofDesign is the only name it defines.

globalThis.edgeprofDesign ??= (() => {
    "use strict";

    const SVG = "http://www.w3.org/2000/svg";
    const PER_LAYER = {depth: "conv", kernel: "conv", stride: "conv", padding: "conv", neurons: "fc"};
    const LARGEST = 50; // a log error that no latency is off by (edgeprof.fit.intervals)
    const FAR = 5, WIDE = Math.log(10); // beyond them no interval is known (edgeprof.fit.intervals.bounded)
    const FAR_OUTSIDE = "not known: far outside what the law has seen";
    const LONG_MS = 10000; // a run from which on people see seconds
    const QUIET_MS = 400; // after the last move: the address and screen readers follow

    // --- a network: every knob has one value, or an array of one per layer

    const perLayer = (net, knob) =>
        Array.isArray(net[knob]) ? net[knob] : Array(net[PER_LAYER[knob]]).fill(net[knob]);

    /** Multiply-accumulates of one tile and parameters; or the problem that makes it no network. */
    function figures(net) {
        const [depths, kernels, strides, paddings, neurons] =
            ["depth", "kernel", "stride", "padding", "neurons"].map((knob) => perLayer(net, knob));
        let size = net.tile, inputs = net.channels, macs = 0, parameters = 0;
        for (let i = 0; i < net.conv; i++) {
            const kernel = kernels[i], stride = strides[i];
            const same = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
            const pads = {valid: 0, same}[paddings[i]] ?? 2 * paddings[i];
            if (Math.floor(pads / 2) >= kernel)
                return {problem: `conv${i + 1}: padding ${Math.floor(pads / 2)} is not smaller than its kernel ${kernel}`};
            if (size + pads < kernel)
                return {problem: `conv${i + 1} has no pixels left: kernel ${kernel} on ${size}×${size}`};
            const out = Math.floor((size + pads - kernel) / stride) + 1;
            const pool = i === net.conv - 1 ? net.pool : net.pool_before;
            if (out < pool) return {problem: `pool${i + 1} has no pixels left: window ${pool} on ${out}×${out}`};
            macs += out ** 2 * kernel ** 2 * inputs * depths[i];
            parameters += (kernel ** 2 * inputs + 1) * depths[i];
            inputs = depths[i];
            size = Math.floor(out / pool);
        }
        let width = inputs * size ** 2;
        for (const columns of [...neurons, net.classes]) {
            macs += width * columns;
            parameters += (width + 1) * columns;
            width = columns;
        }
        return {macs, parameters};
    }

    // --- what the law says: edgeprof.fit.law and edgeprof.fit.intervals once more

    /** What of a network is outside the law's domain: knob, value, what was seen. */
    function outside(law, net) {
        const found = [];
        for (const [what, seen] of Object.entries(law.domain)) {
            if (net[what] === undefined) continue;
            for (const value of new Set(PER_LAYER[what] ? perLayer(net, what) : [net[what]])) {
                const inside = what === "padding" ? seen.includes(value) : seen[0] <= value && value <= seen[1];
                if (!inside) found.push({what, value, seen});
            }
        }
        return found;
    }

    /** How much wider that makes an interval: once more for every doubling beyond, twice for an unseen choice. */
    function widening(found) {
        return found.reduce((wide, {value, seen}) => {
            if (typeof value === "string" || typeof seen[0] === "string") return wide * 2;
            const limit = value < seen[0] ? seen[0] : seen[seen.length - 1];
            return wide * (1 + Math.abs(Math.log2((Math.max(value, 0) + 1) / (Math.max(limit, 0) + 1))));
        }, 1);
    }

    const stratum = (law, ms) => law.strata.findLast((part) => ms >= part.least);

    /** The conformal half-width of log latency. */
    function halfWidth(law, ms, level) {
        const {scores, excess} = stratum(law, ms), n = scores.length;
        const rank = Math.ceil((n + 1) * level - 1e-9);
        if (rank <= n) return scores[Math.max(rank, 1) - 1];
        const beyond = level < 1 ? Math.log(1 / ((n + 1) * (1 - level))) : LARGEST;
        return Math.min(scores[n - 1] + excess * beyond, LARGEST);
    }

    /** How much wider the interval of a latency is, and infinite where none is known. */
    const bounded = (law, ms, wide) => wide > FAR
        || (wide > 1 && law.strata.length && wide * halfWidth(law, ms, law.level) > WIDE) ? Infinity : wide;

    /** Whether there is an interval that is so much wider: the law has errors to judge by, and is not far outside. */
    const known = (law, wide) => law.strata.length > 0 && wide < Infinity;

    /** The probability that the latency is at most `limit` ms; null where that is not known. */
    function chance(law, ms, limit, wide) {
        wide = bounded(law, ms, wide);
        if (!known(law, wide)) return null;
        const {scores, excess} = stratum(law, ms), n = scores.length;
        const margin = Math.log(limit / ms) / wide, size = Math.abs(margin);
        const inside = size > scores[n - 1]
            ? 1 - Math.exp(-(size - scores[n - 1]) / excess) / (n + 1)
            : scores.filter((score) => score <= size).length / (n + 1);
        return 0.5 * (1 + Math.sign(margin) * inside);
    }

    /** The latency of a run with its interval (null where none is known), and what is outside. */
    function predict(law, net, level) {
        const own = figures(net), found = outside(law, net);
        const ms = own.problem ? NaN : law.latency_ms(net);
        const problem = own.problem ?? (ms > 0 ? null : "the law has nothing to say of this network");
        if (problem) return {problem, outside: found};
        const wide = bounded(law, ms, widening(found));
        const half = known(law, wide) ? halfWidth(law, ms, level) * wide : null;
        const interval_ms = half === null ? null : [ms * Math.exp(-half), ms * Math.exp(half)];
        return {...own, problem, latency_ms: ms, speed: net.batch / ms, interval_ms, outside: found, widening: wide};
    }

    /** Whether a latency reaches a wanted speed with a probability of at least `level`; by itself without errors. */
    function reaches(law, ms, wide, batch, target, level) {
        const margin = law.strata.length && level > 0.5 ? halfWidth(law, ms, 2 * level - 1) * bounded(law, ms, wide) : 0;
        return ms <= batch / target * Math.exp(-margin);
    }

    /** The networks of the law's grid with all other knobs as in `net`; `skipped` are none, or without a price. */
    function networks(law, net) {
        const {conv, depth, fc, neurons} = law.grid;
        const wide = widening(outside(law, {...net, conv: conv[0], depth: depth[0], fc: fc[0], neurons: neurons[0]}));
        const found = [];
        let skipped = 0;
        for (const c of conv) for (const d of c ? depth : depth.slice(0, 1)) {
            for (const f of fc) for (const n of f ? neurons : neurons.slice(0, 1)) {
                const one = {...net, conv: c, depth: d, fc: f, neurons: n};
                const {macs, problem} = figures(one);
                const ms = problem ? NaN : law.latency_ms(one);
                if (ms > 0) found.push({conv: c, depth: d, fc: f, neurons: n, macs, ms, speed: net.batch / ms});
                else skipped++;
            }
        }
        return {found, skipped, widening: wide};
    }

    /** Those that no other beats in both speed and capacity, fastest first. */
    function front(found) {
        let most = -Infinity;
        return [...found].sort((a, b) => b.speed - a.speed || b.macs - a.macs).filter((one) => {
            const better = one.macs > most;
            most = Math.max(most, one.macs);
            return better;
        });
    }

    // --- words

    const whole = new Intl.NumberFormat("en-US").format;
    function shown(value, digits = 3) {
        for (const [unit, sign] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
            if (value >= 10 * unit || (value >= unit && unit > 1e3)) return `${shown(value / unit)} ${sign}`;
        if (value >= 1000) return whole(Math.round(value));
        return String(Number(value.toPrecision(digits)));
    }
    const percent = (part) => part > 0.995 ? "> 99 %" : part < 0.005 ? "< 1 %" : `${Math.round(100 * part)} %`;
    const named = (one) => (one.conv ? `conv ${one.conv}×${one.depth}` : "no conv")
        + " · " + (one.fc ? `fc ${one.fc}×${one.neurons}` : "no hidden fc");
    const range = (seen) => seen.length === 2 && typeof seen[0] === "number"
        ? seen[0] === seen[1] ? `${seen[0]}` : `${seen[0]}–${seen[1]}` : seen.join(", ");

    // --- drawing

    function draw(tag, attributes, text) {
        const node = document.createElementNS(SVG, tag);
        for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
        if (text !== undefined) node.textContent = text;
        return node;
    }

    /** From values to pixels: a function with its ticks. */
    function scale(low, high, from, to, log, apart) {
        const f = log ? Math.log : (x) => x, a = f(low), b = f(high);
        const at = (x) => from + (to - from) * (b > a ? (f(x) - a) / (b - a) : 0.5);
        const room = Math.max(Math.abs(to - from) / apart, 2);
        at.ticks = [];
        if (log && high / low > 8) {
            const decades = Math.log10(high / low);
            const parts = [[1, 2, 5], [1, 3]].find((own) => decades * own.length <= room) ?? [1];
            for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
                for (const m of parts) at.ticks.push(m * 10 ** e);
        } else {
            const rough = (high - low) / room || 1, power = 10 ** Math.floor(Math.log10(rough));
            const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
            for (let i = Math.ceil(low / step); i * step <= high; i++) at.ticks.push(i * step);
        }
        at.ticks = at.ticks.filter((x) => x >= low * 0.9999 && x <= high * 1.0001);
        return at;
    }

    /** An emptied picture with axes in its holder; x and y are {low, high, log, title}. */
    function frame(holder, width, label, x, y) {
        const height = Math.min(Math.max(0.62 * width, 250), 380);
        const box = {left: 52, right: width - 14, top: 14, bottom: height - 44};
        const picture = draw("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label});
        const across = scale(x.low, x.high, box.left, box.right, x.log, 50);
        const up = scale(y.low, y.high, box.bottom, box.top, y.log, 36);
        for (const tick of up.ticks) {
            picture.append(draw("path", {class: "epd-rule", d: `M${box.left} ${up(tick)}H${box.right}`}));
            picture.append(draw("text", {x: box.left - 6, y: up(tick) + 4, class: "epd-end"}, shown(tick)));
        }
        for (const tick of across.ticks) {
            picture.append(draw("path", {class: "epd-tick", d: `M${across(tick)} ${box.bottom}v5`}));
            picture.append(draw("text", {x: across(tick), y: box.bottom + 18, class: "epd-middle"}, shown(tick)));
        }
        picture.append(draw("path", {class: "epd-tick", d: `M${box.left} ${box.bottom}H${box.right}`}));
        const middle = (box.left + box.right) / 2, centre = (box.top + box.bottom) / 2;
        picture.append(draw("text", {x: middle, y: height - 6, class: "epd-middle"}, x.title));
        picture.append(draw("text", {transform: `translate(13 ${centre}) rotate(-90)`, class: "epd-middle"}, y.title));
        holder.replaceChildren(picture);
        return {picture, box, across, up, width};
    }

    const dots = (points) => points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("");
    const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

    function targetLine({picture, box, up}, target, y) {
        if (target === null || target < y.low || target > y.high) return;
        picture.append(draw("path", {class: "epd-target", d: `M${box.left} ${up(target)}H${box.right}`}));
        picture.append(draw("text", {x: box.right - 4, y: up(target) - 5, class: "epd-end epd-target-text"},
            `wanted: ${shown(target)}`));
    }

    /** A logarithmic axis for these speeds, and for a wanted one that is no more than `times` beyond them. */
    function axis(values, target, times) {
        let [low, high] = values.length ? [Math.min(...values) / 1.2, Math.max(...values) * 1.2] : [1, 10];
        if (target && target > low / times && target < high * times) {
            low = Math.min(low, target / 1.3);
            high = Math.max(high, target * 1.3);
        }
        return {low, high, log: true, title: "tiles/ms"};
    }

    /** The current network with its interval. */
    function here({picture, box, up}, x, one, batch) {
        if (one.interval_ms) {
            const clamp = (v) => Math.min(Math.max(v, box.top), box.bottom);
            const [slow, fast] = [...one.interval_ms].reverse().map((ms) => clamp(up(batch / ms)));
            const d = `M${x} ${slow}V${fast}M${x - 5} ${slow}h10M${x - 5} ${fast}h10`;
            picture.append(draw("path", {class: "epd-here-bar", d}));
        }
        const y = up(one.speed);
        picture.append(draw("path", {class: "epd-here", d: `M${x} ${y - 7}l7 7l-7 7l-7 -7z`}));
    }

    // --- a page

    const pages = {};

    /** Bring the section `id` to life: `law` is what design.py wrote, `latency_ms` the emitted law. */
    function mount(id, data, latency_ms) {
        const law = {...data, latency_ms}, root = document.getElementById(id);
        const part = (name) => root.querySelector(`.epd-${name}`);
        const input = (name) => document.getElementById(`${id}-${name}`);
        const shownKnobs = Object.keys(law.knobs);
        const state = {net: {...law.net}, level: law.level, target: null, along: law.along};
        const room = () => Math.max(part("along").clientWidth, 240); // pixels that a picture has
        let width = room(); // asked for seldom: an answer lays the page out
        let around = null, largest = null, tabled = null, followed = null, quiet;

        // the grid depends on neither of its own four knobs
        function grid() {
            const {conv, depth, fc, neurons, ...rest} = state.net, key = JSON.stringify(rest);
            if (around?.key !== key) {
                const all = networks(law, state.net);
                around = {...all, key, front: front(all.found)};
            }
            return around;
        }

        function set(changes) {
            Object.assign(state.net, changes);
            update();
        }

        function update(pixels = width) {
            width = pixels;
            const now = predict(law, state.net, state.level);
            for (const knob of shownKnobs) control(knob);
            input("level").value = String(state.level);
            input("along").value = state.along;
            if (document.activeElement !== input("target")) input("target").value = state.target ?? "";
            result(now);
            along(now);
            pareto(now);
            clearTimeout(quiet);
            quiet = setTimeout(() => follow(now), QUIET_MS);
        }

        function control(knob) {
            const {values} = law.knobs[knob], value = state.net[knob], slider = input(`${knob}-slider`), box = input(knob);
            if (slider) {
                const at = values.findIndex((own) => own >= value);
                slider.value = at < 0 ? values.length - 1 : at;
                slider.setAttribute("aria-valuetext", String(value));
            }
            if (document.activeElement !== box || box.tagName === "SELECT") box.value = String(value);
            box.removeAttribute("aria-invalid");
            const strange = outside({domain: {[knob]: law.domain[knob] ?? [value, value]}}, state.net);
            box.closest(".epd-knob").classList.toggle("epd-beyond", strange.length > 0);
        }

        function result(now) {
            const {batch} = state.net, at = percent(state.level);
            const between = (values) => `${at}: ${values.map((v) => shown(v)).join(" – ")}`;
            const [unit, sign] = now.latency_ms >= LONG_MS ? [1000, "s"] : [1, "ms"];
            const bounds = now.interval_ms;
            part("speed").textContent = now.problem ? "–" : shown(now.speed);
            part("interval").textContent = now.problem ? "" : bounds
                ? between([batch / bounds[1], batch / bounds[0]]) : law.strata.length ? `interval ${FAR_OUTSIDE}`
                    : "the law has no errors to give an interval by";
            part("run").textContent = now.problem ? "–" : `${shown(now.latency_ms / unit)} ${sign}`;
            part("run-interval").textContent = bounds ? `${between(bounds.map((ms) => ms / unit))} ${sign}` : "";
            part("macs").textContent = now.problem ? "–" : shown(now.macs);
            part("parameters").textContent = now.problem ? "–" : shown(now.parameters);
            const notice = part("strange");
            notice.hidden = !now.problem && !now.outside.length;
            notice.textContent = now.problem ? `This cannot be: ${now.problem}.`
                : `Outside what the law has seen: ${strange(now.outside)}.`
                    + (bounds ? ` The interval is ${shown(now.widening)} times as wide on a log scale.` : "");
            notice.classList.toggle("epd-impossible", Boolean(now.problem));
            const verdict = part("verdict");
            const [kind, text] = judged(now);
            verdict.textContent = text;
            verdict.dataset.kind = kind;
        }

        const strange = (found) => found
            .map(({what, value, seen}) => `${law.titles[what] ?? what} ${value} (${range(seen)})`).join(", ");

        function judged(now) {
            if (!state.target || now.problem) return ["none", ""];
            const wanted = `${shown(state.target)} tiles/ms`;
            const odds = chance(law, now.latency_ms, state.net.batch / state.target, now.widening);
            if (odds === null && law.strata.length) return ["unsure", `? chance of ${wanted} ${FAR_OUTSIDE}`];
            const said = odds === null ? "" : `: the chance is ${percent(odds)}`;
            if (reaches(law, now.latency_ms, now.widening, state.net.batch, state.target, state.level))
                return ["yes", `✓ reaches ${wanted}${said}`];
            return odds < 1 - state.level ? ["no", `✗ misses ${wanted}${said}`]
                : ["unsure", `? not sure to reach ${wanted}${said}`];
        }

        /** Speed along one knob, all others as they are. */
        function along(now) {
            const knob = state.along, {values, log} = law.knobs[knob], {net} = state, seen = law.domain[knob];
            const [low, high] = [Math.min(values[0], net[knob]), Math.max(values.at(-1), net[knob])];
            const every = high - low <= 256 ? Array.from({length: high - low + 1}, (_, i) => low + i) : values;
            const own = every.map((value) => ({value, ...predict(law, {...net, [knob]: value}, state.level)}))
                .filter((one) => !one.problem);
            const speeds = [...own, ...(now.problem ? [] : [now])].map((one) => one.speed);
            const y = axis(speeds, state.target, 3);
            const x = {low, high: Math.max(high, low + 1), log: log && low > 0, title: law.titles[knob]};
            const ends = [own[0], own.at(-1)].map((one) => one && `${shown(one.speed)} tiles/ms at ${one.value}`);
            const said = own.length ? `Speed along ${x.title}: ${ends.join(", ")}.` : `No ${x.title} makes a network.`;
            const map = frame(part("along"), width, said, x, y);
            const {picture, box, across, up} = map;
            const spare = (value) => Math.min(Math.max(across(value), box.left), box.right);
            for (const [from, to] of seen ? [[box.left, spare(seen[0])], [spare(seen[1]), box.right]] : []) {
                const area = {x: from, y: box.top, width: to - from, height: box.bottom - box.top};
                if (to - from > 1) picture.prepend(draw("rect", {class: "epd-unseen", ...area}));
            }
            const held = (speed) => Math.min(Math.max(up(speed), box.top), box.bottom);
            const sure = own.filter((one) => one.interval_ms); // from one value to another: far outside on either side
            if (sure.length) {
                const upper = sure.map((one) => [across(one.value), held(net.batch / one.interval_ms[0])]);
                const lower = sure.map((one) => [across(one.value), held(net.batch / one.interval_ms[1])]).reverse();
                picture.append(draw("path", {class: "epd-band", d: `${line([...upper, ...lower])}z`}));
            }
            const curve = own.map((one) => [across(one.value), held(one.speed)]);
            picture.append(draw("path", {class: "epd-line", d: line(curve)}));
            if (own.length < 40) picture.append(draw("path", {class: "epd-points", d: dots(curve)}));
            targetLine(map, state.target, y);
            if (!now.problem) here(map, across(net[knob]), now, net.batch);
            const told = (one) => {
                const bounds = one.interval_ms?.map((ms) => shown(net.batch / ms)).reverse();
                return `${x.title} ${one.value}: ${shown(one.speed)} tiles/ms` + (bounds ? ` (${bounds.join(" – ")})` : "");
            };
            point(map, part("along-readout"), own.map((one, i) => ({one, x: curve[i][0], y: curve[i][1]})), told,
                (one) => set({[knob]: one.value}), false);
        }

        /** Speed against capacity for the grid, its front, the wanted speed, and where the current network is. */
        function pareto(now) {
            const {found, front: edge, widening: wide, skipped} = grid(), {batch} = state.net;
            const wanted = (one) => state.target !== null && reaches(law, one.ms, wide, batch, state.target, state.level);
            const fast = found.filter(wanted);
            const all = [...found, ...(now.problem ? [] : [now])], macs = all.map((one) => one.macs);
            const x = {...axis(macs, null, 1), title: "MACs per tile"};
            const y = axis(all.map((one) => one.speed), state.target, Infinity);
            const said = `Speed against capacity of ${found.length} networks; ${edge.length} of them are on the Pareto front.`;
            const map = frame(part("pareto"), width, said, x, y);
            const {picture, across, up} = map, place = (one) => [across(one.macs), up(one.speed)];
            picture.append(draw("path", {class: "epd-dots", d: dots(found.map(place))}));
            if (fast.length) picture.append(draw("path", {class: "epd-dots epd-fast", d: dots(fast.map(place))}));
            picture.append(draw("path", {class: "epd-line", d: line(edge.map(place))}));
            picture.append(draw("path", {class: "epd-points", d: dots(edge.map(place))}));
            targetLine(map, state.target, y);
            if (!now.problem) here(map, across(now.macs), now, batch);
            point(map, part("pareto-readout"), found.map((one) => ({one, x: across(one.macs), y: up(one.speed)})),
                (one) => `${named(one)}: ${shown(one.speed)} tiles/ms, ${shown(one.macs)} MACs`, choose, true);
            summary(found, fast, edge, skipped);
            if (part("table").open) table(edge, wide);
        }

        function choose({conv, depth, fc, neurons}) {
            set({...(conv ? {conv, depth} : {conv}), ...(fc ? {fc, neurons} : {fc})});
        }

        function summary(found, fast, edge, skipped) {
            const count = `${whole(found.length)} networks` + (skipped ? ` (${whole(skipped)} more cannot be)` : "");
            const sure = law.strata.length ? ` with a chance of at least ${percent(state.level)}` : "";
            largest = fast.reduce((a, b) => (a && a.macs >= b.macs ? a : b), null);
            part("count").textContent = state.target === null ? `${count}. Give a wanted speed to see which reach it.`
                : `${whole(fast.length)} of ${count} reach ${shown(state.target)} tiles/ms${sure}.`;
            part("largest").hidden = !largest;
            if (largest) part("largest").textContent = `The largest: ${named(largest)}, ${shown(largest.macs)} MACs`;
            part("table").firstElementChild.textContent = `The front as a table: ${whole(edge.length)} networks`;
        }

        /** Rows are made anew only where they change: who has one in focus keeps it. */
        function table(edge, wide) {
            const {batch} = state.net, key = JSON.stringify([around.key, state.level, state.target]);
            if (tabled === key) return;
            tabled = key;
            part("table").querySelector("tbody").replaceChildren(...edge.map((one) => {
                const row = document.createElement("tr"), button = document.createElement("button");
                const beyond = bounded(law, one.ms, wide);
                const half = known(law, beyond) ? halfWidth(law, one.ms, state.level) * beyond : null;
                const bounds = half === null ? "not known" : [-half, half].map((v) => shown(one.speed * Math.exp(v))).join(" – ");
                const odds = state.target === null ? null : chance(law, one.ms, batch / state.target, wide);
                const likely = state.target === null ? "–" : odds === null ? "not known" : percent(odds);
                button.type = "button";
                button.textContent = named(one);
                button.addEventListener("click", () => choose(one));
                row.insertCell().append(button);
                for (const value of [shown(one.speed), bounds, shown(one.macs), likely])
                    row.insertCell().textContent = value;
                return row;
            }));
        }

        /** Tells of the network nearest to the pointer; a click sets it. */
        function point({picture, box, width}, readout, places, told, act, both) {
            readout.textContent = places.length ? readout.dataset.hint : picture.getAttribute("aria-label");
            const ring = draw("circle", {class: "epd-ring", r: 7, visibility: "hidden"});
            picture.append(ring);
            const nearest = (event) => {
                const area = picture.getBoundingClientRect(), zoom = width / area.width;
                const x = (event.clientX - area.left) * zoom, y = (event.clientY - area.top) * zoom;
                if (y > box.bottom + 8) return null;
                const far = (one) => (one.x - x) ** 2 + (both ? (one.y - y) ** 2 : 0);
                return places.reduce((best, one) => (best && far(best) <= far(one) ? best : one), null);
            };
            const tell = (event) => {
                const found = nearest(event);
                ring.setAttribute("visibility", found ? "visible" : "hidden");
                if (!found) return;
                ring.setAttribute("cx", found.x);
                ring.setAttribute("cy", found.y);
                readout.textContent = told(found.one);
            };
            picture.addEventListener("pointermove", tell);
            picture.addEventListener("pointerleave", () => ring.setAttribute("visibility", "hidden"));
            picture.addEventListener("click", (event) => {
                const found = nearest(event);
                if (found) act(found.one);
            });
        }

        // --- the address, and screen readers

        function address() {
            const fields = new URLSearchParams(shownKnobs.map((knob) => [knob, state.net[knob]]));
            if (state.target !== null) fields.set("target", state.target);
            fields.set("level", state.level);
            fields.set("along", state.along);
            return `#${id}?${fields}`;
        }

        function follow(now) {
            const text = address();
            if (text === followed) return;
            followed = text;
            part("link").href = text;
            const heard = ["speed", "interval", "verdict", "strange"].map((name) => part(name).textContent);
            heard[0] += " tiles/ms";
            part("said").textContent = now.problem ? heard[3] : heard.filter(Boolean).join(". ");
            try {
                history.replaceState(history.state, "", text);
            } catch { /* a frame without an address of its own, as in a notebook */ }
        }

        /** Reads the state in the address; false where there is none. */
        function restore() {
            const [name, query] = location.hash.slice(1).split("?");
            if (name !== id || !query) return false;
            const fields = new URLSearchParams(query);
            for (const knob of shownKnobs) if (fields.has(knob)) take(knob, fields.get(knob));
            if (fields.has("target")) state.target = positive(fields.get("target"));
            if (law.levels.includes(Number(fields.get("level")))) state.level = Number(fields.get("level"));
            if (law.knobs[fields.get("along")]?.values.every(Number.isInteger)) state.along = fields.get("along");
            return true;
        }

        const positive = (text) => Number(text) > 0 && Number(text) < Infinity ? Number(text) : null;

        /** Sets a knob from a text; false where it is no value of it. */
        function take(knob, text) {
            const {least, most, words} = law.knobs[knob];
            const value = words.includes(text) ? text : /^\d+$/.test(text) ? Number(text) : NaN;
            if (!(typeof value === "string" || (value >= least && value <= most))) return false;
            state.net[knob] = value;
            return true;
        }

        for (const knob of shownKnobs) {
            const box = input(knob), slider = input(`${knob}-slider`);
            const lead = () => { if (slider) state.along = knob; };
            slider?.addEventListener("input", () => {
                state.net[knob] = law.knobs[knob].values[slider.value];
                lead();
                update();
            });
            box.addEventListener("input", () => {
                if (!take(knob, box.value)) return box.setAttribute("aria-invalid", "true");
                lead();
                update();
            });
            box.addEventListener("change", () => {
                box.value = String(state.net[knob]);
                control(knob);
            });
        }
        input("target").addEventListener("input", (event) => {
            state.target = positive(event.target.value);
            update();
        });
        input("level").addEventListener("input", (event) => {
            state.level = Number(event.target.value);
            update();
        });
        input("along").addEventListener("input", (event) => {
            state.along = event.target.value;
            update();
        });
        part("reset").addEventListener("click", () => {
            Object.assign(state, {net: {...law.net}, level: law.level, target: null, along: law.along});
            update();
        });
        part("largest").addEventListener("click", () => choose(largest));
        part("table").addEventListener("toggle", () => update());
        globalThis.addEventListener("hashchange", () => { if (restore()) update(); });
        new ResizeObserver(() => requestAnimationFrame(() => {
            if (width !== room()) update(room());
        })).observe(root);
        const shared = restore();
        part("link").href = followed = address();
        update();
        if (shared) root.scrollIntoView();
        pages[id] = {law, state, update, grid};
    }

    return {mount, pages, figures, outside, widening, predict, chance, networks, front};
})();
