// SPDX-License-Identifier: Apache-2.0
// Charts by chart.js, in the page's colours. Without it (it comes from a package of the system when kith is built)
// figures are shown all the same, and the place of a chart says why it is empty.
import { h } from './dom.js';

const drawn = new Set();
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const tone = number => style(`--tone${number % 8}`);

function colours(chart) {
  const soft = style('--soft'),
    line = style('--line');
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = soft;
    axis.title.color = soft;
    axis.grid.color = line;
    axis.grid.borderColor = line;
  }
  if (chart.options.plugins.legend.labels) chart.options.plugins.legend.labels.color = style('--ink');
  const tip = chart.options.plugins.tooltip;
  Object.assign(tip, {
    backgroundColor: style('--card'),
    titleColor: style('--ink'),
    bodyColor: style('--ink'),
    borderColor: style('--line'),
  });
  chart.data.datasets.forEach((set, at) => {
    const own = set.plain ? soft : tone(set.tone ?? at);
    set.borderColor = own;
    set.backgroundColor = set.fill ? `${own}22` : own;
    set.pointBackgroundColor = own;
  });
}

export function recolour() {
  for (const chart of drawn) {
    colours(chart);
    chart.update('none');
  }
}

// {label, type: 'line'|'scatter', sets: [{label, data, tone, fill, dash}], x: {...}, y: {...}, legend, tip(item)}
export function chart({ label, type = 'line', sets, x = {}, y = {}, legend = false, tip, tall = false, onpick }) {
  const canvas = h('canvas', { role: 'img', 'aria-label': label });
  const place = h(`div.chart${tall ? '.tall' : ''}`, {}, canvas);
  if (!window.Chart) {
    place.replaceChildren(h('p.soft', {}, 'No chart: chart.js was not there when this kith was built.'));
    return { place, update() {}, destroy() {} };
  }
  const axis = (own, more) => ({
    ticks: { maxTicksLimit: 6, font: { size: 11 }, maxRotation: 0, ...own.ticks },
    title: { display: Boolean(own.title), text: own.title, font: { size: 11 } },
    grid: { drawTicks: false, display: more.lines },
    ...own.more,
  });
  const chart = new window.Chart(canvas, {
    type,
    data: {
      labels: x.labels,
      datasets: sets.map(set => ({
        borderWidth: 1.75,
        pointRadius: type === 'line' ? 0 : 3,
        pointHitRadius: 12,
        tension: type === 'line' ? 0.25 : 0,
        spanGaps: false,
        borderDash: set.dash,
        ...set,
      })),
    },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      normalized: true,
      interaction: type === 'line' ? { mode: 'index', intersect: false } : { mode: 'nearest', intersect: false },
      onClick: onpick && ((_, hits) => hits.length && onpick(hits[0])),
      scales: {
        x: axis(x, { lines: type !== 'line' }),
        y: axis({ ...y, more: { beginAtZero: true, ...y.more } }, { lines: true }),
      },
      plugins: {
        legend: {
          display: legend,
          position: 'top',
          align: 'end',
          labels: { boxWidth: 10, boxHeight: 2, font: { size: 11 } },
        },
        tooltip: {
          borderWidth: 1,
          displayColors: sets.length > 1,
          padding: 8,
          callbacks: tip ? { label: tip } : {},
        },
      },
    },
  });
  drawn.add(chart);
  colours(chart);
  chart.update('none');
  return {
    place,
    chart,
    update(next) {
      if (next?.labels) chart.data.labels = next.labels;
      next?.data?.forEach((data, at) => {
        chart.data.datasets[at].data = data;
      });
      colours(chart);
      chart.update('none');
    },
    destroy() {
      drawn.delete(chart);
      chart.destroy();
    },
  };
}
