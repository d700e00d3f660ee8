// What is wrong with the page that is open, as a list of sentences: names and
// landmarks, labels, contrast by WCAG 2.2, a page that is too wide.
const problems = [];
const say = (problem, element) => {
    const where = element ? `: ${element.outerHTML.slice(0, 160)}` : '';
    problems.push(problem + where);
};
const all = (selector) => [...document.querySelectorAll(selector)];
const visible = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

// Names and landmarks.
if (!document.documentElement.lang) say('the page has no language');
if (!document.title.trim()) say('the page has no title');
if (all('h1').length !== 1) say(`the page has ${all('h1').length} h1`);
if (all('main').length !== 1) say(`the page has ${all('main').length} main`);
if (!document.querySelector('h1')?.closest('main')) say('the h1 is not in main');
const levels = all('h1, h2, h3, h4, h5, h6').map((heading) => Number(heading.tagName[1]));
levels.forEach((level, nth) => {
    if (nth > 0 && level > levels[nth - 1] + 1) say(`an h${level} follows an h${levels[nth - 1]}`);
});
const ids = all('[id]').map((element) => element.id);
ids.filter((id, nth) => ids.indexOf(id) !== nth).forEach((id) => say(`the id ${id} is there twice`));
for (const element of all('a[href], button')) {
    const name = element.textContent.trim() || element.getAttribute('aria-label');
    if (!name) say('it has no name', element);
}
for (const image of all('img, svg')) {
    const named = image.hasAttribute('alt') || image.getAttribute('aria-hidden') === 'true'
        || image.getAttribute('role') === 'img';
    if (!named) say('a picture has no alternative', image);
}
for (const table of all('table')) {
    if (table.querySelectorAll('th[scope]').length === 0) say('a table has no headers', table);
}
for (const element of all('[tabindex]')) {
    if (element.tabIndex > 0) say('it stands out of the order', element);
}
const error = document.getElementById('error');
if (error && error.getAttribute('role') !== 'alert') say('an error is not announced', error);

// Inputs.
for (const input of all('input:not([type=hidden]), select, textarea')) {
    if (![...(input.labels ?? [])].some((label) => label.textContent.trim() && visible(label))) {
        say('an input has no label', input);
    }
    if (!input.autocomplete) say('an input does not say what belongs there', input);
}

// Controls side by side are in one line.
for (const control of all('button, .button')) {
    const next = control.nextElementSibling;
    if (!next?.matches('button, .button')) continue;
    const [one, other] = [control, next].map((element) => element.getBoundingClientRect());
    const beside = one.top < other.bottom && other.top < one.bottom;
    if (beside && Math.abs(one.top - other.top) > 1) say('it is out of line', next);
}

// Width.
const width = document.documentElement.scrollWidth;
if (innerWidth !== arguments[0]) say(`the page takes ${arguments[0]} px for ${innerWidth}`);
if (width > innerWidth) {
    say(`the page is ${width} px wide`);
    all('body *').filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).forEach((element) => say('it is too wide', element));
}

// Contrast. A canvas knows every notation of a colour.
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const colour = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return { channels: [red, green, blue], alpha: alpha / 255 };
};
const over = (top, bottom) =>
    bottom.map((channel, nth) => top.channels[nth] * top.alpha + channel * (1 - top.alpha));
const chain = (element) => (element ? [...chain(element.parentElement), element] : []);
const white = [255, 255, 255];
const backdrop = (element) => {
    const dark = getComputedStyle(document.documentElement).colorScheme.includes('dark')
        && matchMedia('(prefers-color-scheme: dark)').matches;
    // What shows where a page paints nothing: Chromium's canvas.
    const canvasColour = dark ? colour('#121212').channels : white;
    return chain(element).reduce((below, ancestor) => {
        const style = getComputedStyle(ancestor);
        if (style.backgroundImage !== 'none') say('the background of a text is a picture', ancestor);
        return over(colour(style.backgroundColor), below);
    }, canvasColour);
};
const luminance = (channels) => {
    const [red, green, blue] = channels.map((channel) => {
        const part = channel / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
};
let texts = 0;
const judge = (element, css, what) => {
    texts += 1;
    const style = getComputedStyle(element);
    const background = backdrop(element);
    const text = colour(css);
    chain(element).forEach((ancestor) => { text.alpha *= getComputedStyle(ancestor).opacity; });
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = ratio(over(text, background), background);
    if (contrast < (large ? 3 : 4.5)) {
        say(`the contrast of "${what.trim().slice(0, 40)}" is ${contrast.toFixed(2)}`, element);
    }
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const painted = !['SCRIPT', 'STYLE', 'NOSCRIPT', 'TEMPLATE'].includes(element.tagName);
    const text = walker.currentNode.textContent;
    if (painted && text.trim() && visible(element) && !element.closest(':disabled')) {
        judge(element, getComputedStyle(element).color, text);
    }
}
for (const input of all('input:not([type=hidden])').filter(visible)) {
    judge(input, getComputedStyle(input).color, input.id);
    if (input.placeholder) {
        judge(input, getComputedStyle(input, '::placeholder').color, input.placeholder);
    }
}
if (texts === 0) say('the page has no text');
return problems;
