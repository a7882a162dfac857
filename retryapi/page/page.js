// Keeps the page up to date. Without this script the page is what the server
// last rendered, and there is no button to retry.

const $ = (id) => document.getElementById(id);
const svg = "http://www.w3.org/2000/svg";
const span = 600; // seconds that a chart is wide
const least = 4; // seconds that a bar of it is wide at least
const quiet = 40_000; // after so many milliseconds without a word the connection is lost

let state; // what the server last said
let skew = 0; // how far the server's clock is ahead of ours, in milliseconds
let heard; // when the server last said anything
let source;

const now = () => Date.now() + skew;

// In words, as the server has it: see left and ago in Go.
function left(ms) {
	const s = ms / 1000;
	if (s < 10) return `${s.toFixed(1)} s`;
	if (s < 120) return `${s.toFixed(0)} s`;
	const rest = s < 600 ? ` ${String(Math.floor(s % 60)).padStart(2, "0")} s` : "";
	return `${Math.floor(s / 60)} min${rest}`;
}

function ago(time) {
	if (!time) return "–";
	const s = Math.floor((now() - Date.parse(time)) / 1000);
	if (s < 1) return "just now";
	return s < 120 ? `${s} s ago` : `${Math.floor(s / 60)} min ago`;
}

function put(element, text) {
	if (element.textContent !== String(text)) element.textContent = text;
}

// parts finds the elements of a row by their data-f, once.
function parts(row) {
	row.parts ??= Object.fromEntries([...row.querySelectorAll("[data-f]")].map((e) => [e.dataset.f, e]));
	return row.parts;
}

// show gives a list one row for each item, in their order. Rows that are done
// stay where they are until they go by themselves. While somebody is at the list
// with the pointer or the keyboard nothing moves: what is new comes last.
function show(list, template, items, id, fill) {
	const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
	const wanted = new Set(items.map(id));
	for (const [key, row] of rows) {
		if (!wanted.has(key) && !row.done && !row.busy) row.remove();
	}
	const busy = list.aimed || list.matches(":has(:focus-visible)");
	let place = list.firstElementChild;
	for (const item of items) {
		const row = rows.get(id(item)) ?? template.content.firstElementChild.cloneNode(true);
		row.dataset.id = id(item);
		if (busy) {
			if (!row.isConnected) list.append(row);
			fill(row, item);
			continue;
		}
		while (place && place !== row && !wanted.has(place.dataset.id)) place = place.nextElementSibling;
		if (row === place) place = place.nextElementSibling;
		else list.insertBefore(row, place);
		fill(row, item);
	}
}

function fillKey(row, k) {
	row.item = k;
	row.className = `key ${k.phase}`;
	const p = parts(row);
	put(p.key, k.key);
	put(p.why, k.why);
	put(p.waiters, k.waiters);
	put(p.attempts, k.attempts);
	put(p.level, k.level);
	p.chart.setAttribute("aria-label", k.recent);
	const begin = Date.parse(state.time) - span * 1000;
	p.chart.replaceChildren(...k.history.map((i) => {
		const x = (Date.parse(i.from) - begin) / 1000;
		// What has not ended reaches into the future, where the view moves.
		const end = i.to ? (Date.parse(i.to) - begin) / 1000 : 2 * span;
		const bar = document.createElementNS(svg, "rect");
		bar.setAttribute("x", Math.min(x, span - least).toFixed(1));
		bar.setAttribute("width", Math.max(end - x, least).toFixed(1));
		bar.setAttribute("height", 10);
		return bar;
	}));
	passKey(row);
}

// passKey shows what changes by itself while time passes.
function passKey(row) {
	const k = row.item;
	const p = parts(row);
	const rest = k.phase === "held" ? Math.max(Date.parse(k.until) - now(), 0) : 0;
	// That a hold is over is for the server to say.
	put(p.stands, k.phase === "held" && k.left > 0 ? `held for ${left(rest)} more` : k.stands);
	put(p.last, ago(k.last));
	const all = k.hold || (row.hold = Math.max(row.hold ?? 0, rest));
	p.bar.classList.toggle("off", rest === 0);
	p.part.setAttribute("width", all > 0 ? Math.round(Math.min(rest / all, 1) * 1000) : 0);
	p.chart.setAttribute("viewBox", `${Math.round((now() - Date.parse(state.time)) / 1000)} 0 ${span} 10`);
}

function fillParked(row, r) {
	row.item = r;
	row.dataset.attempt = r.attemptNumber;
	const p = parts(row);
	put(p.method, r.method);
	put(p.url, r.url);
	put(p.words, r.words);
	put(p.attempts, r.attemptNumber);
	put(p.length, r.length);
	put(p.age, ago(r.parked));
	p.retry.hidden = false;
	p.retry.setAttribute("aria-label", `Retry ${r.method} ${r.url}`);
	if (row.busy) return;
	p.retry.setAttribute("aria-disabled", r.inFlight);
	if (r.inFlight) tell(row, "Being sent.");
	else if (row.elsewhere) tell(row, "");
	row.elsewhere = r.inFlight;
}

function tell(row, text, look = "") {
	const { result } = parts(row);
	result.className = look;
	put(result, text);
}

async function retry(row) {
	const { retry: button, result, attempts } = parts(row);
	if (button.getAttribute("aria-disabled") === "true") return;
	row.busy = true;
	row.elsewhere = false;
	button.setAttribute("aria-disabled", "true");
	tell(row, "Under way…");
	try {
		const answer = await fetch("retry", {
			method: "POST",
			headers: { "Content-Type": "application/json" },
			body: JSON.stringify({ id: row.dataset.id, attemptNumber: Number(row.dataset.attempt), sleepDuration: 0, jitter: 0 }),
		});
		const said = await answer.json();
		if (said.nextAttemptNumber !== undefined) {
			row.dataset.attempt = said.nextAttemptNumber;
			put(attempts, said.nextAttemptNumber);
		}
		if (said.result === "success") {
			row.done = true;
			tell(row, `Success: ${said.status}`, "good");
			const focused = document.activeElement === button;
			button.remove();
			result.tabIndex = -1;
			if (focused) result.focus();
			setTimeout(() => row.remove(), 60_000);
		} else if (said.result === "failure") {
			tell(row, `Failed: ${said.error}`, "bad");
		} else {
			tell(row, `${said.title}: ${said.detail}`, "bad");
		}
	} catch {
		tell(row, "No answer from this page's server: whether it was sent is not known.", "bad");
	}
	row.busy = false;
	button.setAttribute("aria-disabled", "false");
}

function fill(s) {
	const before = state?.totals.held;
	state = s;
	put($("verdict"), s.verdict);
	$("verdict").className = s.mood;
	document.title = `${s.verdict} – holdoff`;
	put($("store"), s.storeWords);
	$("store").className = s.store && !s.store.ok ? "away" : "";
	put($("keys-shown"), s.keysShown);
	show($("keys"), $("new-key"), s.keys, (k) => k.key, fillKey);
	$("no-keys").hidden = s.keys.length > 0;
	if ($("parked")) {
		put($("parked-shown"), s.parkedShown);
		put($("parked-error"), s.parkedError ?? "");
		$("parked-error").hidden = !s.parkedError;
		show($("parked"), $("new-parked"), s.parked, (r) => r.id, fillParked);
		$("no-parked").hidden = $("parked").children.length > 0 || Boolean(s.parkedError);
	}
	// Only what matters is read out: not each request that waits.
	if (before !== undefined && before !== s.totals.held) put($("said"), s.verdict);
}

function here() {
	heard = Date.now();
	if ($("lost").hidden) return;
	$("lost").hidden = true;
	put($("said"), "The connection is back.");
}

function lost() {
	put($("live"), "Not live");
	if (!$("lost").hidden) return;
	const since = new Date(heard).toLocaleTimeString();
	put($("lost"), `The connection is lost. What you see is of ${since}; trying again.`);
	put($("said"), $("lost").textContent);
	$("lost").hidden = false;
}

function connect() {
	source?.close();
	heard ??= Date.now();
	source = new EventSource(`events${location.search}`);
	source.addEventListener("state", (e) => {
		here();
		put($("live"), "Live");
		const said = JSON.parse(e.data);
		skew = Date.parse(said.time) - Date.now();
		fill(said);
	});
	source.addEventListener("beat", here);
	source.addEventListener("error", () => {
		lost();
		// The browser tries again by itself, unless it was refused.
		if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
	});
}

document.addEventListener("click", (e) => {
	const button = e.target.closest("[data-f=retry]");
	if (button) retry(button.closest("li"));
});
for (const list of document.querySelectorAll("ul")) {
	list.addEventListener("pointerenter", () => (list.aimed = true));
	list.addEventListener("pointerleave", () => {
		list.aimed = false;
		if (state) fill(state); // in order again
	});
}
setInterval(() => {
	if (!state) return;
	if (Date.now() - heard > quiet) {
		lost();
		heard = Date.now(); // try again no sooner than that
		connect();
	}
	if (document.hidden) return;
	for (const row of $("keys").children) passKey(row);
	for (const row of $("parked")?.children ?? []) {
		if (row.item) put(parts(row).age, ago(row.item.parked));
	}
}, 250);
addEventListener("pagehide", () => source.close());
addEventListener("pageshow", (e) => e.persisted && connect());
connect();
