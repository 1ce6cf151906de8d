"""The geometry of the charts; the templates write it down as SVG.

Why no plotting library: a chart here must be readable 390 pixels wide, so its text must not shrink
with it. Lengths across are per cent of whatever width there is, heights and text are pixels;
neither of the two below draws so. Measured, for the same pair of histograms of 12 bins: pygal
3.1.3 needs 0.05 s to import and 6 ms a chart, and writes 21 kB, of which most is a style sheet and
a script with all its settings in every single chart; matplotlib's SVG takes 0.6 s to import, 43 ms
and 14 kB, with the colours fixed, where ours must follow the reader's light or dark. Neither gives
a chart a role, a name and a description. What is needed of one is bars and dots: a histogram takes
4 kB on average here.

All x and widths are per cent of the chart's width, all y and heights pixels from its top.
"""
