/**
 * What a terminal shows of a program's output: colours, and a line that was written again from its
 * beginning. Other escape sequences and control characters are left out.
 */

export interface Piece {
  text: string;
  /** The names of its styles, as in `ansi-red ansi-bold`. */
  style: string;
}

const COLORS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
const WEIGHTS: Record<number, string> = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline', 7: 'inverse' };
/** The codes that end what a code begins. */
const ENDS: Record<number, number[]> = { 22: [1, 2], 23: [3], 24: [4], 27: [7] };

// In turn: a control sequence, a system command with its text, another sequence, a control character.
const CONTROL = /\x1b\[([0-?]*)[ -/]*(?:([@-~])|$)|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b(?:[ -/]*[0-~]|$)|[\x00-\x1f\x7f\x9b]/g;

/** The output in pieces of one style each. */
export function terminal(output: string): Piece[] {
  const screen = new Screen();
  let at = 0;
  for (const match of output.matchAll(CONTROL)) {
    screen.write(output.slice(at, match.index));
    at = match.index + match[0].length;
    const [sequence, parameters = '', final] = match;
    if (final === 'm') screen.setStyle(parameters);
    else if (final === 'K') screen.erase(parameters);
    else if (sequence === '\n') screen.newLine();
    else if (sequence === '\r') screen.column = 0;
    else if (sequence === '\b') screen.column = Math.max(0, screen.column - 1);
    else if (sequence === '\t') screen.write('\t');
  }
  screen.write(output.slice(at));
  return screen.all();
}

/** The output without styles. */
export function plainOutput(output: string): string {
  return terminal(output).map((piece) => piece.text).join('');
}

class Screen {
  column = 0;
  private readonly done: Piece[] = [];
  private line: Piece[] = [];
  private width = 0;
  private readonly codes = new Set<number>();
  private style = '';

  write(text: string): void {
    if (!text) return;
    if (this.column >= this.width) this.line.push({ text, style: this.style });
    else this.line = [...cut(this.line, 0, this.column), { text, style: this.style }, ...cut(this.line, this.column + text.length, this.width)];
    this.column += text.length;
    this.width = Math.max(this.width, this.column);
  }

  newLine(): void {
    this.line.push({ text: '\n', style: '' });
    for (const piece of this.line) append(this.done, piece);
    this.line = [];
    this.column = this.width = 0;
  }

  /** Erase the line: from here on (0, the default), up to here (1), or all of it (2). */
  erase(parameter: string): void {
    if (parameter === '1') this.line = [{ text: ' '.repeat(this.column), style: '' }, ...cut(this.line, this.column, this.width)];
    else {
      this.line = parameter === '2' ? [{ text: ' '.repeat(this.column), style: '' }] : cut(this.line, 0, this.column);
      this.width = this.column;
    }
  }

  setStyle(parameters: string): void {
    const codes = (parameters || '0').split(/[;:]/).map(Number);
    for (let index = 0; index < codes.length; index += 1) {
      const code = codes[index] ?? 0;
      // A colour of a larger palette; its numbers are no codes.
      if (code === 38 || code === 48) index += codes[index + 1] === 5 ? 2 : 4;
      else if (code === 0) this.codes.clear();
      else if (code in ENDS) ENDS[code]?.forEach((ended) => this.codes.delete(ended));
      else if (code in WEIGHTS) this.codes.add(code);
      else if (code === 39 || isColor(code)) {
        for (const other of this.codes) if (isColor(other)) this.codes.delete(other);
        if (code !== 39) this.codes.add(code);
      }
    }
    this.style = [...this.codes].map((code) => `ansi-${WEIGHTS[code] ?? COLORS[code % 10]}`).join(' ');
  }

  all(): Piece[] {
    for (const piece of this.line) append(this.done, piece);
    this.line = [];
    return this.done;
  }
}

function isColor(code: number): boolean {
  return (code >= 30 && code <= 37) || (code >= 90 && code <= 97);
}

/** The part of a line between two columns. */
function cut(line: readonly Piece[], from: number, to: number): Piece[] {
  const found: Piece[] = [];
  let start = 0;
  for (const { text, style } of line) {
    const part = text.slice(Math.max(0, from - start), Math.max(0, to - start));
    if (part) found.push({ text: part, style });
    start += text.length;
  }
  return found;
}

function append(pieces: Piece[], piece: Piece): void {
  const last = pieces.at(-1);
  if (last?.style === piece.style) last.text += piece.text;
  else pieces.push({ ...piece });
}
