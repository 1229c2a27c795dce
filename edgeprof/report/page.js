"use strict";
(() => {
    const figures = JSON.parse(document.getElementById("figures").textContent);
    const plots = [...document.querySelectorAll(".plot")];
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const coarse = matchMedia("(pointer: coarse)").matches;
    const SERIES = 9;

    function colours() {
        const probe = document.body.appendChild(document.createElement("span"));
        probe.className = "probe";
        const read = (name) => {
            probe.style.color = `var(--${name})`;
            return getComputedStyle(probe).color;
        };
        const found = {
            ink: read("ink"), faint: read("faint"), rule: read("rule"), paper: read("paper"),
            series: Array.from({length: SERIES}, (_, i) => read(`series-${i + 1}`)),
        };
        probe.remove();
        return found;
    }

    const faded = (colour) => colour.replace("rgb(", "rgba(").replace(")", ", 0.45)");

    function coloured(trace, number, theme) {
        const colour = trace.meta === "series" ? theme.series[number % SERIES] : theme.faint;
        const found = {...trace, marker: {...trace.marker, color: colour}};
        if (trace.line) found.line = {...trace.line, color: colour};
        if (trace.error_y) found.error_y = {...trace.error_y, color: faded(colour)};
        if (trace.type === "bar") delete found.line;
        return found;
    }

    function axis(given, theme) {
        return {
            ...given, gridcolor: theme.rule, linecolor: theme.faint, zerolinecolor: theme.rule,
            title: {...given.title, standoff: 8},
        };
    }

    const FEW = 6; // labels of an axis that a narrow plot has room for

    /** Every other label of an axis that has too many for a narrow plot. */
    function thinned(given, narrow) {
        const {tickvals, ticktext} = given;
        if (!narrow || !tickvals || tickvals.length <= FEW) return given;
        const other = (values) => values.filter((_, i) => i % 2 === 0);
        return {...given, tickvals: other(tickvals), ticktext: other(ticktext)};
    }

    function draw(plot) {
        const {data, layout} = figures[plot.dataset.figure];
        const theme = colours();
        const narrow = plot.clientWidth < 480;
        let number = 0;
        const traces = data.map((trace) => coloured(trace, trace.meta === "guide" ? 0 : number++, theme));
        const font = {color: theme.ink, family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 13};
        Plotly.react(plot, traces, {
            ...layout, font,
            xaxis: axis(thinned(layout.xaxis, narrow), theme),
            yaxis: axis(layout.yaxis, theme),
            legend: {
                ...layout.legend, title: {...layout.legend.title, side: narrow ? "top" : "left"}, orientation: "h", x: 0, xanchor: "left", y: 0, yanchor: "bottom", yref: "container",
            },
            paper_bgcolor: theme.paper, plot_bgcolor: theme.paper,
            hoverlabel: {align: "left"},
            margin: {l: 50, r: 12, t: narrow ? 12 : 40, b: 40},
            dragmode: coarse ? false : "zoom",
        }, {
            responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover",
            modeBarButtons: [["toImage", "resetScale2d"]],
            toImageButtonOptions: {filename: plot.dataset.figure, format: "svg"},
        });
        plot.dataset.drawn = "yes";
    }

    /** Plotly stands in the page compressed. */
    async function unpack() {
        const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
        const script = document.createElement("script");
        script.textContent = await new Response(
            new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")),
        ).text();
        document.head.append(script);
    }

    const again = () => plots.filter((plot) => plot.dataset.drawn).forEach(draw);
    const seen = new IntersectionObserver((entries) => {
        for (const {isIntersecting, target} of entries) {
            if (isIntersecting && !target.dataset.drawn) draw(target);
        }
    }, {rootMargin: "500px"});
    unpack().then(() => {
        plots.forEach((plot) => seen.observe(plot));
        addEventListener("beforeprint", () => plots.filter((plot) => !plot.dataset.drawn).forEach(draw));
        dark.addEventListener("change", again);
        root.dataset.ready = "yes";
    });

    const button = document.getElementById("theme");
    const isDark = () => (root.style.colorScheme || (dark.matches ? "dark" : "light")) === "dark";
    const tell = () => { button.textContent = isDark() ? "Light colours" : "Dark colours"; };
    button.hidden = false;
    button.addEventListener("click", () => {
        root.style.colorScheme = isDark() ? "light" : "dark";
        tell();
        again();
    });
    dark.addEventListener("change", tell);
    tell();
})();
