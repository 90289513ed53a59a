package safe

// paperID marks our own style sheet, which is not taken for the mail's when a page is sanitised again.
const paperID = "mairust-paper"

// pageHead is filled with the language and the style sheet. The charset comes first, so that no browser guesses one.
const pageHead = `<!doctype html>
<html lang="%s">
<head>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width">
<style id="` + paperID + `">%s</style>
`

// paperStyle is white paper, whatever the theme of the page around it. The mark that shows where a deceptive link leads sets everything
// that it could inherit, with !important, which rules of a mail never keep. It begins a line of its own, so that no long line pushes
// it away; it is in a box that reads from the left, so that no narrow one pushes it off the left edge; and it alone is positioned, so
// that nothing lies over it.
const paperStyle = `
:root{color-scheme:only light;background:#fff}
body{margin:12px;background:#fff;color:#1b2430;font:15px/1.6 system-ui,"Hiragino Sans","Noto Sans JP","Yu Gothic UI",Meiryo,sans-serif;overflow-wrap:anywhere}
img{max-width:100%}
pre{white-space:pre-wrap}
blockquote{margin:8px 0 8px 4px;padding-left:10px;border-left:2px solid #c5ccd6}
img.mairust-blocked{background:#eef0f3;color:#556070;outline:1px dashed #b6bec9;font-size:12px}
span.mairust-host{display:block!important;float:none!important;clear:none!important;width:auto!important;min-width:0!important;max-width:none!important;height:auto!important;min-height:0!important;max-height:none!important;margin:0!important;padding:0!important;border:0!important;background:none!important;direction:ltr!important;text-indent:0!important;text-align:left!important}
span.mairust-host>bdi{display:block!important;position:relative!important;z-index:2147483647!important;clear:none!important;float:none!important;box-sizing:content-box!important;width:max-content!important;min-width:0!important;max-width:90vw!important;height:auto!important;min-height:0!important;max-height:none!important;margin:2px 0!important;padding:0 4px!important;border:1px solid #8a1c14!important;border-radius:0!important;color:#8a1c14!important;background:#fff!important;font:12px/1.5 ui-monospace,monospace!important;letter-spacing:normal!important;word-spacing:normal!important;text-indent:0!important;text-decoration:none!important;text-transform:none!important;text-align:left!important;vertical-align:baseline!important;white-space:normal!important;overflow-wrap:anywhere!important;direction:ltr!important;unicode-bidi:isolate!important}
`
