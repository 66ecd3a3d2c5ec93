/** The list of microphones, kept in step with what is plugged in. */

import { chooseDevice, chosenDevice, listMicrophones } from './capture.js';
import { byId, make } from './dom.js';

/** Read the devices again; labels appear once the microphone was allowed. */
export async function refreshMicrophones() {
  const devices = await listMicrophones().catch(() => []);
  const chosen = chosenDevice();
  const options = [{ id: '', label: 'Default microphone' }, ...devices].map(({ id, label }) => {
    const option = make('option', { value: id }, label);
    option.selected = id === chosen;
    return option;
  });
  byId('microphone').replaceChildren(...options);
}

/** Call `changed()` after another microphone was chosen. */
export function mountMicrophones(changed) {
  byId('microphone').addEventListener('change', ({ target }) => {
    chooseDevice(target.value);
    changed();
  });
  navigator.mediaDevices?.addEventListener('devicechange', refreshMicrophones);
  return refreshMicrophones();
}
