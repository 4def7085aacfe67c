// Arithmetic: a sum of products of powers, read from left to right.
import { Failure } from "branchline";

const TOKEN = /\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+|\*\*|[-+*/%()])/iy;

/** The value of an expression. Throws Failure where it is none. */
export function calculate(expression: string): number {
  const tokens = tokensOf(expression);
  const value = sum(tokens);
  if (tokens.length) throw new Failure(`There is ${tokens[0]} where the expression should end.`);
  return value;
}

function tokensOf(expression: string): string[] {
  const tokens: string[] = [];
  const text = expression.trim();
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length; ) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new Failure(`${text.slice(at, at + 20)} is no arithmetic.`);
    tokens.push(match[1]!);
  }
  return tokens;
}

function sum(tokens: string[]): number {
  let value = product(tokens);
  while (tokens[0] === "+" || tokens[0] === "-") {
    value += tokens.shift() === "+" ? product(tokens) : -product(tokens);
  }
  return value;
}

function product(tokens: string[]): number {
  let value = signed(tokens);
  while (tokens[0] === "*" || tokens[0] === "/" || tokens[0] === "%") {
    const sign = tokens.shift();
    const by = signed(tokens);
    value = sign === "*" ? value * by : sign === "/" ? value / by : value % by;
  }
  return value;
}

function signed(tokens: string[]): number {
  if (tokens[0] !== "-" && tokens[0] !== "+") return power(tokens);
  return tokens.shift() === "-" ? -signed(tokens) : signed(tokens);
}

function power(tokens: string[]): number {
  const base = atom(tokens);
  if (tokens[0] !== "**") return base;
  tokens.shift();
  return base ** signed(tokens);
}

function atom(tokens: string[]): number {
  const token = tokens.shift();
  if (token === "(") {
    const value = sum(tokens);
    if (tokens.shift() !== ")") throw new Failure("A parenthesis is not closed.");
    return value;
  }
  const value = Number(token);
  if (token === undefined || Number.isNaN(value)) throw new Failure(`A number is missing before ${token ?? "the end"}.`);
  return value;
}
